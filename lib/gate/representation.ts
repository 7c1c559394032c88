/**
 * A packument as clients get it: versions the policy refuses taken out, dist-tags re-pointed, the
 * refused ones named in `policyRestrictions` (npm-pick-manifest shows that text), addresses
 * rewritten to ours, serialized and compressed once. One version at a time, so that memory holds
 * the input and the compressed output and little else.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createGzip, gzipSync, type Gzip } from 'node:zlib'
import type { Verdict } from '../types.ts'
import { record, type Manifest } from './claims.ts'
import { repointDistTags, type DistTags } from './dist-tags.ts'
import type { Standing } from './standing.ts'
import { openPace } from './pace.ts'
import { reasonsText } from './reasons.ts'
import type { Packument } from './packument.ts'
import { elsewhereMark } from './split-view.ts'
import { unpooled } from './unpooled.ts'

/** `full`: application/json. `abbreviated`: application/vnd.npm.install-v1+json. */
export type Form = 'full' | 'abbreviated'

export type Representation = {
  readonly form: Form
  /** Weak validator over the form and the bytes, which hold the public URL and the policy's effect. */
  readonly etag: string
  /** The document, gzipped. */
  readonly gzip: Buffer
  /** Bytes before compression. */
  readonly size: number
  readonly distTags: DistTags
  readonly shown: number
  readonly modified?: string
}

export type Addresses = {
  /** Ends with a slash. */
  readonly publicUrl: string
}

/** What an abbreviated manifest keeps: npm's package-metadata document and what clients really read. */
const ABBREVIATED = [
  'name',
  'version',
  'deprecated',
  'dependencies',
  'optionalDependencies',
  'devDependencies',
  'bundleDependencies',
  'bundledDependencies',
  'peerDependencies',
  'peerDependenciesMeta',
  'acceptDependencies',
  'bin',
  'directories',
  'dist',
  'engines',
  'os',
  'cpu',
  'libc',
  'funding',
  'hasInstallScript',
  '_hasShrinkwrap',
  '_npmUser',
] as const

export const tarballUrl = ({ publicUrl }: Addresses, name: string, version: string): string =>
  `${publicUrl}${name}/-/${name.slice(name.indexOf('/') + 1)}-${version}.tgz`

/** npm takes only the path of this URL and asks it of the registry (pacote lib/registry.js). */
const attestationsUrl = ({ publicUrl }: Addresses, name: string, version: string): string =>
  `${publicUrl}-/npm/v1/attestations/${name}@${version}`

export const whyUrl = ({ publicUrl }: Addresses, name: string, version: string): string =>
  `${publicUrl}-/attestry/why/${name}@${version}`

/** A version's `dist` with our addresses in place of the upstream's. */
const rewriteDist = (
  manifest: Manifest,
  name: string,
  version: string,
  addresses: Addresses,
): Manifest => {
  const dist = record(manifest['dist'])
  const tarball = tarballUrl(addresses, name, version)
  if (dist['attestations'] === undefined) return { ...dist, tarball }
  const url = attestationsUrl(addresses, name, version)
  return { ...dist, tarball, attestations: { ...record(dist['attestations']), url } }
}

/** The same of a whole manifest. */
export const rewriteManifest = (
  manifest: Manifest,
  name: string,
  version: string,
  addresses: Addresses,
): Manifest => ({ ...manifest, dist: rewriteDist(manifest, name, version, addresses) })

/**
 * The manifest of a version that observe mode lets through, deprecated with the reasons: clients warn,
 * and npm, pnpm 11, Yarn 4 and Bun take another version of the range. What its publisher said stays.
 */
export const deprecateManifest = (
  manifest: Manifest,
  verdict: Verdict,
  addresses: Addresses,
): Manifest => {
  const { name, version } = verdict.package
  const own = `Policy would refuse it. ${reasonsText(verdict)} See ${whyUrl(addresses, name, version)}`
  const { deprecated } = manifest
  const said = typeof deprecated === 'string' && deprecated !== '' ? `${deprecated} ` : ''
  return { ...manifest, deprecated: `${said}${own}` }
}

const INSTALL_SCRIPTS = ['preinstall', 'install', 'postinstall']

/** `dist` in place of the manifest's own. */
const abbreviate = (manifest: Manifest, dist: Manifest): Manifest => {
  const scripts = record(manifest['scripts'])
  const kept: Record<string, unknown> = {}
  for (const key of ABBREVIATED) {
    const value = key === 'dist' ? dist : manifest[key]
    if (value !== undefined) kept[key] = value
  }
  if (INSTALL_SCRIPTS.some(script => scripts[script] !== undefined))
    kept['hasInstallScript'] = true
  return kept
}

/** npm may be told to pick a staged version: its addresses lead to us, where it is judged like any other. */
const stagedOf = (staged: Manifest, name: string, addresses: Addresses): Manifest => ({
  ...staged,
  versions: Object.fromEntries(
    Object.entries(record(staged['versions'])).map(([version, manifest]) => [
      version,
      rewriteManifest(record(manifest), name, version, addresses),
    ]),
  ),
})

/** The text npm prints above "due to policy violations"; bounded, the newest refusals first. */
const restrictionsOf = (
  name: string,
  refused: ReadonlyMap<string, Verdict>,
  addresses: Addresses,
  given: Manifest,
) => {
  const theirs = theirRestrictions(given)
  const newest = [...refused].toReversed()
  const lines = newest.slice(0, 5).map(([version, verdict]) => {
    return `${name}@${version} ${reasonsText(verdict)} See ${whyUrl(addresses, name, version)}`
  })
  // which one was asked for nobody knows here
  const others = newest.length - lines.length
  const told = whyUrl(addresses, name, 'VERSION')
  const more = others > 0 ? [`and ${others} more, each explained at ${told}`] : []
  return {
    message: [...lines, ...more, theirs.message].filter(Boolean).join('\n'),
    versions: Object.fromEntries(
      [...theirs.names, ...refused.keys()]
        .toReversed()
        .map(version => [version, { name, version } as const]),
    ),
  }
}

/** What an upstream itself says it does not serve, and why; only its words are taken, no addresses. */
const theirRestrictions = (given: Manifest) => {
  const { message } = given
  return {
    message: typeof message === 'string' ? message.slice(0, 2000) : '',
    names: Object.keys(record(given['versions'])),
  }
}

/** Hints beyond this many are left out; the newest refusals come first. */
const HINTS = 5
const MAX_HINT = 400

/**
 * Dist-tags that say why the version they name is not there. pnpm lists all dist-tags when it finds
 * no matching version, and shows nothing else of a refusal; no other client may see them.
 */
const hintsOf = (
  name: string,
  refused: ReadonlyMap<string, Verdict>,
  addresses: Addresses,
): DistTags =>
  Object.fromEntries(
    [...refused]
      .toReversed()
      .slice(0, HINTS)
      .map(([version, verdict]) => {
        const see = `See ${whyUrl(addresses, name, version)}`
        const why = reasonsText(verdict).replace(/[^\x20-\x7e]+/g, ' ')
        const room = MAX_HINT - see.length
        const text = why.length > room ? `${why.slice(0, room - 3)}...` : why
        return [`REFUSED ${text} ${see}`, version] as const
      }),
  )

/**
 * A small packument is compressed while others wait: signatures and digests for the most part, of
 * which level 6 makes 2 or 3 % less in half as much time again. A large one repeats itself more (a
 * sixth less at 6), is compressed in another thread, and is what the network feels.
 */
const levels = { small: 3, large: 6 }
/** Bytes compressed at a time, and up to which it is done at once: about 1 ms. */
const PIECE = 128 * 1024
/** Bytes that a piece compresses to, with room: for each that are more the thread would be asked again. */
const chunkSize = 64 * 1024

/** Takes text piece by piece; hashes and compresses on the way. */
const openSink = () => {
  const hash = createHash('sha256')
  let gzip: Gzip | undefined
  const chunks: Buffer[] = []
  let size = 0
  let pending = ''
  const take = () => {
    const bytes = Buffer.from(pending)
    pending = ''
    size += bytes.length
    hash.update(bytes)
    return bytes
  }
  const flush = async () => {
    gzip ??= createGzip({ level: levels.large, chunkSize }).on('data', (chunk: Buffer) =>
      chunks.push(chunk),
    )
    if (!gzip.write(take())) await once(gzip, 'drain')
  }
  return {
    write: (text: string): Promise<void> | undefined => {
      pending += text
      return pending.length < PIECE ? undefined : flush()
    },
    end: async () => {
      const last = take()
      const made = () => ({ digest: hash.digest('base64url'), size })
      // a small one costs less here than to hand it to another thread
      if (gzip === undefined)
        return { ...made(), gzip: unpooled(gzipSync(last, { level: levels.small })) }
      const ended = once(gzip, 'end')
      gzip.end(last)
      await ended
      return { ...made(), gzip: unpooled(Buffer.concat(chunks)) }
    },
  }
}

const TOP_ABBREVIATED = new Set(['name', 'dist-tags', 'versions', 'stagedVersions'])
/** Put together with ours, and what is only ours. */
const TOP_DROPPED = new Set(['policyRestrictions', elsewhereMark])

/** `packument` is the upstream's text that `standing.index` was read from. */
export const buildRepresentation = async (
  packument: Packument,
  standing: Standing,
  form: Form,
  {
    hints = false,
    deprecates = false,
    ...addresses
  }: Addresses & { readonly hints?: boolean; readonly deprecates?: boolean },
): Promise<Representation> => {
  const { index, refused, observed } = standing
  const { name } = index
  const { versions } = packument
  const shown = new Set(versions.filter(version => !refused.has(version)))
  const distTags = repointDistTags(index.distTags, shown)
  const hinted = hints ? hintsOf(name, refused, addresses) : {}
  const time = record(packument.member('time'))
  const modified = typeof time['modified'] === 'string' ? time['modified'] : undefined
  const breathe = openPace()
  const sink = openSink()
  let separator = '{'
  const member = (key: string, value: string) => {
    const piece = `${separator}${JSON.stringify(key)}:${value}`
    separator = ','
    return sink.write(piece)
  }
  const writeVersions = async () => {
    let between = ''
    await member('versions', '{')
    for (const version of shown) {
      const manifest = packument.manifest(version) ?? {}
      const verdict = deprecates ? observed.get(version) : undefined
      const warned = verdict ? deprecateManifest(manifest, verdict, addresses) : manifest
      const dist = rewriteDist(warned, name, version, addresses)
      const json = JSON.stringify(
        form === 'full' ? { ...warned, dist } : abbreviate(warned, dist),
      )
      const written = sink.write(`${between}${JSON.stringify(version)}:${json}`)
      between = ','
      if (written) await written
      const aside = breathe()
      if (aside) await aside
    }
    await sink.write('}')
  }
  for (const key of packument.members) {
    if (TOP_DROPPED.has(key) || (form === 'abbreviated' && !TOP_ABBREVIATED.has(key))) continue
    if (key === 'versions') await writeVersions()
    else if (key === 'dist-tags') await member(key, JSON.stringify({ ...distTags, ...hinted }))
    else if (key === 'time') {
      const kept = Object.entries(time).filter(([version]) => !refused.has(version))
      await member(key, JSON.stringify(Object.fromEntries(kept)))
    } else if (key === 'stagedVersions') {
      const staged = stagedOf(record(packument.member(key)), name, addresses)
      await member(key, JSON.stringify(staged))
    } else await member(key, JSON.stringify(packument.member(key)))
  }
  if (form === 'abbreviated' && modified) await member('modified', JSON.stringify(modified))
  const given = packument.members.includes('policyRestrictions')
  if (refused.size > 0 || given) {
    const theirs = record(packument.member('policyRestrictions'))
    const restrictions = restrictionsOf(name, refused, addresses, theirs)
    await member('policyRestrictions', JSON.stringify(restrictions))
  }
  await sink.write('}')
  const { digest, size, gzip } = await sink.end()
  return {
    form,
    // weak: the same document is sent with and without compression (RFC 9110 8.8.3.3)
    etag: `W/"${form === 'full' ? 'f' : 'a'}-${digest}"`,
    gzip,
    size,
    distTags,
    shown: shown.size,
    ...(modified && { modified }),
  }
}
