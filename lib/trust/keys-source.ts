/**
 * Which registry keys count for an upstream, and where they are from. What a registry itself says
 * of its keys, at `/-/npm/v1/keys`, is never among it: nobody vouches for that but the registry.
 */
import { AttestryError } from '../errors.ts'
import type { RegistryKey } from '../types.ts'
import { readJson } from './files.ts'
import { parseRegistryKeys } from './registry-keys.ts'
import type { OpenRootSource } from './root-source.ts'
import { keysEnding, shippedTarget } from './shipped.ts'
import type { KeysSource } from './source.ts'

export type FoundKeys = { readonly keys: readonly RegistryKey[]; readonly from: string }

/** npm's client looks a registry's keys up under the host and path of its address. */
export const keysTargetOf = (registry: string): string => {
  const { host, pathname } = new URL(registry)
  return `${host}${pathname.replace(/\/$/, '')}${keysEnding}`
}

const registryOf = (target: string) => `https://${target.slice(0, -keysEnding.length)}/`

export const shippedKeys = (): FoundKeys => {
  const { name, document } = shippedTarget(keysEnding, 'registry keys')
  const from = 'registry keys (as shipped in @sigstore/tuf)'
  return { keys: parseRegistryKeys(document, from, registryOf(name)), from }
}

/** A root that is tied to some signers says nothing of registries. */
const unlimited = ({ scope }: OpenRootSource) =>
  scope.issuers === undefined && scope.subjects === undefined

/** Throws ETRUST when what has to be there is not, or cannot be used. */
export const registryKeysOf = async (
  source: KeysSource,
  roots: readonly OpenRootSource[],
  /** Addresses of registries, the upstream's own first. */
  registries: readonly string[],
): Promise<FoundKeys> => {
  if (source.kind === 'none') return { keys: [], from: 'none' }
  if (source.kind === 'bundled') return shippedKeys()
  if (source.kind === 'file') {
    const { file } = source
    return { keys: parseRegistryKeys(await readJson(file), file), from: file }
  }
  const asked = roots.filter(root => root.repository !== undefined && unlimited(root))
  const targets = registries.map(keysTargetOf)
  for (const target of targets)
    for (const root of asked) {
      const document = root.target(target)
      if (document === undefined) continue
      const from = `${root.status().label}: ${target}`
      return { keys: parseRegistryKeys(document, from, registryOf(target)), from }
    }
  // keys that the repository of public-good has given up are not brought back by an old copy of it
  if (source.kind === 'auto' && !asked.some(root => root.repository === 'public-good'))
    return shippedKeys()
  if (source.kind === 'auto')
    return { keys: [], from: `none: no TUF repository has ${targets.join(' or ')}` }
  throw new AttestryError(
    'ETRUST',
    `registryKeys: tuf: no TUF repository among the trust roots has ${targets.join(' or ')}`,
  )
}
