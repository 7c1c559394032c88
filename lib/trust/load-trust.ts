/**
 * Trusted roots and registry keys, from what the sigstore packages ship or from files. Read once
 * when the program starts: there is no network call here and none in the request path.
 */
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { json } from '@sigstore/core'
import { AttestryError, messageOf } from '../errors.ts'
import type { RegistryKey, TrustMaterial } from '../types.ts'
import { parseRegistryKeys } from './registry-keys.ts'
import { checkTrustedRoot } from './trusted-root.ts'

export type TrustOptions = {
  /** `public-good`: sigstore's own root. A file is a trusted_root.json. */
  readonly roots: readonly ('public-good' | { readonly file: string })[]
  /** A file holds keys in TUF-target form, or in the form of `/-/npm/v1/keys`. */
  readonly registryKeys: 'bundled' | 'none' | { readonly file: string }
  /** Those that packages are signed with here: they count besides. */
  readonly ownKeys?: readonly RegistryKey[]
}

/** npm's client looks a registry's keys up as `<host><path>/keys.json`. */
const keysTarget = '/keys.json'

/** Bytes; the real ones are under 10 kB. */
const fileLimit = 1024 * 1024

const readJson = async (file: string): Promise<unknown> => {
  try {
    const { size } = await stat(file)
    if (size > fileLimit)
      throw new Error(`it has ${size} bytes; wanted at most ${fileLimit} bytes`)
    // editors on Windows may leave a byte order mark
    return JSON.parse((await readFile(file, 'utf8')).replace(/^\uFEFF/, ''))
  } catch (error) {
    throw new AttestryError('ETRUST', `${file}: ${messageOf(error)}`, { cause: error })
  }
}

type Seeds = Record<string, { readonly targets: Readonly<Record<string, string>> }>

/** The targets shipped inside @sigstore/tuf, by name; the package has them for its offline start. */
const bundledTargets = (): ReadonlyMap<string, unknown> => {
  const seeds = createRequire(import.meta.url)('@sigstore/tuf/seeds.json') as Seeds
  return new Map(
    Object.values(seeds)
      .flatMap(({ targets }) => Object.entries(targets))
      .map(([name, content]) => [
        decodeURIComponent(name),
        JSON.parse(Buffer.from(content, 'base64').toString('utf8')) as unknown,
      ]),
  )
}

const bundled = (ending: string, what: string): { name: string; document: unknown } => {
  for (const [name, document] of bundledTargets())
    if (name.endsWith(ending)) return { name, document }
  throw new AttestryError('ETRUST', `@sigstore/tuf ships no ${what}`)
}

/**
 * Puts parts together that were read and checked elsewhere. The digest is over their content, not
 * its spelling, so that the same root from a file and from a package is the same trust material.
 */
export const assembleTrust = (parts: {
  readonly roots: readonly object[]
  readonly registryKeys: readonly RegistryKey[]
  readonly sources: readonly string[]
}): TrustMaterial => {
  const { roots, registryKeys, sources } = parts
  // through JSON, so that what is canonicalized holds JSON values only
  const content: unknown = JSON.parse(JSON.stringify({ roots, registryKeys }))
  const digest = createHash('sha256').update(json.canonicalize(content)).digest('hex')
  return { digest, roots, registryKeys, sources }
}

const loadRoot = async (root: TrustOptions['roots'][number]) => {
  if (root !== 'public-good')
    return { root: checkTrustedRoot(await readJson(root.file), root.file), source: root.file }
  const { document } = bundled('trusted_root.json', 'trusted root')
  const source = 'public-good (as shipped in @sigstore/tuf)'
  return { root: checkTrustedRoot(document, source), source }
}

const loadKeys = async (from: TrustOptions['registryKeys']) => {
  if (from === 'none') return { keys: [], sources: [] }
  if (from !== 'bundled')
    return {
      keys: parseRegistryKeys(await readJson(from.file), from.file),
      sources: [from.file],
    }
  const { name, document } = bundled(keysTarget, 'registry keys')
  const source = 'registry keys (as shipped in @sigstore/tuf)'
  const registry = `https://${name.slice(0, -keysTarget.length)}/`
  return { keys: parseRegistryKeys(document, source, registry), sources: [source] }
}

/** Throws ETRUST, naming the file and what is wrong with it. */
export const loadTrust = async (options: TrustOptions): Promise<TrustMaterial> => {
  if (options.roots.length === 0)
    throw new AttestryError('ETRUST', 'No trusted root is configured; wanted at least one.')
  const roots = await Promise.all(options.roots.map(loadRoot))
  const { keys, sources } = await loadKeys(options.registryKeys)
  const { ownKeys = [] } = options
  return assembleTrust({
    roots: roots.map(({ root }) => root),
    registryKeys: [...keys, ...ownKeys],
    sources: [
      ...roots.map(({ source }) => source),
      ...sources,
      ...(ownKeys.length > 0 ? ['our own registry keys'] : []),
    ],
  })
}
