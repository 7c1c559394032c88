/**
 * An upstream whose packages we sign: its packuments with our signatures among the upstream's own,
 * so that everything that reads a packument meets them as evidence to verify like any other.
 */
import { createHash } from 'node:crypto'
import { messageOf } from '../errors.ts'
import type { PackumentAnswer, Upstream, Validators } from '../upstream/upstream.ts'
import { record, type Manifest } from './claims.ts'
import { parseSlice } from './json-slices.ts'
import { openPace } from './pace.ts'
import { manifestAt, slicePackument, type Slices } from './packument.ts'
import type { RegistrySignatures, SignatureRecord } from './registry-signatures.ts'

export type SignedUpstreamOptions = {
  readonly signatures: RegistrySignatures
  readonly reservedFor: (name: string) => string | undefined
  /** What was published through us and could not be signed. */
  readonly onUnsigned: (name: string, upstream: string, why: string) => void
}

/** Ours behind the upstream's; one that is there already is not repeated. */
const withSignature = (manifest: Manifest, { keyid, sig }: SignatureRecord): Manifest => {
  const dist = record(manifest['dist'])
  const theirs: readonly unknown[] = Array.isArray(dist['signatures']) ? dist['signatures'] : []
  const known = theirs.some(one => record(one)['keyid'] === keyid && record(one)['sig'] === sig)
  const signatures = known ? theirs : [...theirs, { keyid, sig }]
  return { ...manifest, dist: { ...dist, signatures } }
}

const merge = async (
  name: string,
  { text, top, versions }: Slices,
  signatures: readonly SignatureRecord[],
): Promise<Buffer> => {
  const breathe = openPace()
  const bySignature = new Map(signatures.map(signature => [signature.version, signature]))
  const pieces: Buffer[] = []
  const say = (piece: string) => pieces.push(Buffer.from(piece))
  let separator = '{'
  for (const [member, slice] of top) {
    say(`${separator}${JSON.stringify(member)}:`)
    separator = ','
    if (member !== 'versions') {
      // checked here, so that what is broken at the upstream is told of the upstream
      parseSlice(text, slice)
      pieces.push(text.subarray(slice.start, slice.end))
      continue
    }
    let between = '{'
    for (const [version, at] of versions) {
      say(`${between}${JSON.stringify(version)}:`)
      between = ','
      const signature = bySignature.get(version)
      const manifest = manifestAt(text, at, name)
      if (signature) say(JSON.stringify(withSignature(manifest, signature)))
      else pieces.push(text.subarray(at.start, at.end))
      await breathe()
    }
    say(between === '{' ? '{}' : '}')
  }
  say('}')
  return Buffer.concat(pieces)
}

const digestOf = (signatures: readonly SignatureRecord[]): string =>
  createHash('sha256')
    .update(JSON.stringify(signatures.map(({ version, sig }) => [version, sig])))
    .digest('base64url')

const mark = 'attestry-signed'

/** Validators that hold as long as our signatures are the same too. */
const pack = ({ etag, lastModified }: Validators, digest: string): Validators =>
  etag === undefined && lastModified === undefined
    ? {}
    : { etag: JSON.stringify([mark, { etag, lastModified }, digest]) }

const unpack = (
  known: Validators,
): { readonly validators: Validators; readonly digest?: string } => {
  try {
    const parts = JSON.parse(known.etag ?? '') as unknown
    if (Array.isArray(parts) && parts[0] === mark && typeof parts[2] === 'string')
      return { validators: record(parts[1]), digest: parts[2] }
  } catch {
    // the upstream's own: of a time when nothing was signed
  }
  return { validators: known }
}

/** Closes nothing of its own: what it wraps stays its opener's. */
export const signedUpstream = (
  upstream: Upstream,
  { signatures, reservedFor, onUnsigned }: SignedUpstreamOptions,
): Upstream => {
  /** Signs what was published through us and is there now as it went through. */
  const settle = async (name: string, { text, versions }: Slices): Promise<void> => {
    for (const { version, integrity } of await signatures.pending(upstream.name, name)) {
      const slice = versions.get(version)
      if (!slice) continue
      const id = { name, version }
      const dist = record(manifestAt(text, slice, name)['dist'])
      try {
        if (dist['integrity'] === integrity)
          await signatures.sign(upstream.name, id, integrity, 'published')
        else onUnsigned(`${name}@${version}`, upstream.name, 'the upstream shows other bytes')
      } catch (error) {
        onUnsigned(`${name}@${version}`, upstream.name, messageOf(error))
      }
      await signatures.settled(upstream.name, id)
    }
  }

  const packument = async (name: string, known?: Validators): Promise<PackumentAnswer> => {
    // what is not this upstream's alone has no signature of ours
    if (reservedFor(name) !== upstream.name) return upstream.packument(name, known)
    const before = await signatures.of(upstream.name, name)
    const waiting = await signatures.pending(upstream.name, name)
    const { validators, digest } = known ? unpack(known) : {}
    const same =
      waiting.length === 0 && (before.length === 0 ? undefined : digestOf(before)) === digest
    const answer = await upstream.packument(name, same ? validators : undefined)
    if (answer.kind !== 'found' || (before.length === 0 && waiting.length === 0)) return answer
    const packument = await slicePackument(answer.body, name)
    await settle(name, packument)
    const now = await signatures.of(upstream.name, name)
    if (now.length === 0) return answer
    // the gzip is of the body as it was
    const { etag, lastModified, gzip: _gzip, ...rest } = answer
    return {
      ...rest,
      body: await merge(name, packument, now),
      ...pack(
        {
          ...(etag !== undefined && { etag }),
          ...(lastModified !== undefined && { lastModified }),
        },
        digestOf(now),
      ),
    }
  }

  return {
    name: upstream.name,
    url: upstream.url,
    ...(upstream.evidenceFrom !== undefined && { evidenceFrom: upstream.evidenceFrom }),
    packument,
    tarball: url => upstream.tarball(url),
    attestations: id => upstream.attestations(id),
    keys: () => upstream.keys(),
    forward: request => upstream.forward(request),
    close: () => Promise.resolve(),
  }
}
