/**
 * Trust material put together, and in its simplest form: what the sigstore packages ship, and
 * files, read once. A server uses open-trust.ts, which renews it.
 */
import { AttestryError } from '../errors.ts'
import { revision } from '../revision.ts'
import type { RegistryKey, RootScope, TrustMaterial } from '../types.ts'
import { readJson } from './files.ts'
import { registryKeysOf } from './keys-source.ts'
import { shippedTarget } from './shipped.ts'
import { contentDigest } from './status.ts'
import { checkTrustedRoot } from './trusted-root.ts'

export type TrustOptions = {
  /** `public-good`: sigstore's own root, as shipped. A file is a trusted_root.json. */
  readonly roots: readonly ('public-good' | { readonly file: string })[]
  /** A file holds keys in TUF-target form, or in the form of `/-/npm/v1/keys`. */
  readonly registryKeys: 'bundled' | 'none' | { readonly file: string }
}

/**
 * Puts parts together that were read and checked elsewhere. The digest is over their content, not
 * its spelling, so that the same root from a file and from a package is the same trust material, and
 * over the revision of what verifies by them.
 */
export const assembleTrust = (parts: {
  readonly roots: readonly object[]
  readonly scopes?: readonly RootScope[]
  readonly registryKeys: readonly RegistryKey[]
  readonly sources: readonly string[]
}): TrustMaterial => {
  const { roots, registryKeys, sources, scopes: given = [] } = parts
  const scopes = given.some(scope => Object.keys(scope).length > 0) ? { scopes: given } : {}
  const digest = contentDigest({ roots, ...scopes, registryKeys, revision })
  return { digest, roots, ...scopes, registryKeys, sources }
}

const loadRoot = async (root: TrustOptions['roots'][number]) => {
  if (root !== 'public-good')
    return { root: checkTrustedRoot(await readJson(root.file), root.file), source: root.file }
  const { document } = shippedTarget('trusted_root.json', 'trusted root')
  const source = 'public-good (as shipped in @sigstore/tuf)'
  return { root: checkTrustedRoot(document, source), source }
}

/** Throws ETRUST, naming the file and what is wrong with it. */
export const loadTrust = async (options: TrustOptions): Promise<TrustMaterial> => {
  if (options.roots.length === 0)
    throw new AttestryError('ETRUST', 'No trusted root is configured; wanted at least one.')
  const { registryKeys: from } = options
  const roots = await Promise.all(options.roots.map(loadRoot))
  const keys = await registryKeysOf(
    typeof from === 'string' ? { kind: from } : { kind: 'file', file: from.file },
    [],
    [],
  )
  return assembleTrust({
    roots: roots.map(({ root }) => root),
    registryKeys: keys.keys,
    sources: [...roots.map(({ source }) => source), ...(from === 'none' ? [] : [keys.from])],
  })
}
