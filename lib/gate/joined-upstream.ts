/**
 * "Bytes from this mirror, evidence from that registry": two upstreams as one. Packuments are those
 * of the evidence upstream, less the versions the mirror does not have (`elsewhereMark`); tarballs are
 * the mirror's.
 * Where the two disagree on what a version is, the version says so (`splitMark`), and is refused.
 */
import { AttestryError } from '../errors.ts'
import type { PackumentAnswer, Upstream, Validators } from '../upstream/upstream.ts'
import { record, sha512Of, type Manifest } from './claims.ts'
import { parseSlice } from './json-slices.ts'
import { openPace } from './pace.ts'
import { manifestAt, slicePackument, type Slices } from './packument.ts'
import { elsewhereMark, splitMark, type SplitView } from './split-view.ts'

type Names = { readonly mirror: string; readonly evidence: string }

const shasumOf = (dist: Manifest): string | undefined => {
  const { shasum } = dist
  return typeof shasum === 'string' && shasum !== '' ? shasum.toLowerCase() : undefined
}

/** The strongest digest that both give; where they give none in common the bytes must tell. */
const disagreement = (mirror: Manifest, evidence: Manifest) => {
  for (const digestOf of [(dist: Manifest) => sha512Of(dist['integrity']), shasumOf]) {
    const [ours, theirs] = [digestOf(mirror), digestOf(evidence)]
    if (ours === undefined || theirs === undefined) continue
    return ours === theirs ? undefined : { mirrorSays: ours, evidenceSays: theirs }
  }
  return undefined
}

const digestOf = (dist: Manifest) =>
  sha512Of(dist['integrity']) ?? shasumOf(dist) ?? 'no digest'

/** A version of the merged packument. `theirs` is what the evidence upstream has of it. */
const mergeVersion = (ours: Manifest, theirs: Manifest | undefined, names: Names): Manifest => {
  const dist = record(ours['dist'])
  if (!theirs) {
    const split: SplitView = { ...names, mirrorSays: digestOf(dist), evidenceSays: 'nothing' }
    // what the mirror says of signatures is nobody's word
    const { signatures: _, attestations: __, ...bare } = dist
    return { ...ours, dist: bare, [splitMark]: split }
  }
  const evidence = record(theirs['dist'])
  const differ = disagreement(dist, evidence)
  return {
    ...theirs,
    dist: { ...evidence, tarball: dist['tarball'] },
    ...(differ && { [splitMark]: { ...names, ...differ } satisfies SplitView }),
  }
}

const mergePackuments = async (
  name: string,
  mirror: Slices,
  evidence: Slices | undefined,
  names: Names,
): Promise<Buffer> => {
  const breathe = openPace()
  const pieces: Buffer[] = []
  const say = (text: string) => pieces.push(Buffer.from(text))
  let separator = '{'
  const key = (text: string) => {
    say(`${separator}${JSON.stringify(text)}:`)
    separator = ','
  }
  const base = evidence ?? mirror
  for (const [member, slice] of base.top) {
    if (member === 'versions') continue
    key(member)
    // checked here, so that what is broken at the upstream is told of the upstream
    parseSlice(base.text, slice)
    pieces.push(base.text.subarray(slice.start, slice.end))
  }
  const elsewhere: (readonly [version: string, manifest: Manifest])[] = []
  for (const [version, slice] of evidence?.versions ?? []) {
    if (evidence === undefined || mirror.versions.has(version)) continue
    const { dist } = manifestAt(evidence.text, slice, name)
    if (record(dist)['attestations'] !== undefined) elsewhere.push([version, { dist }])
    await breathe()
  }
  key(elsewhereMark)
  say(JSON.stringify(Object.fromEntries(elsewhere)))
  key('versions')
  say('{')
  let between = ''
  for (const [version, slice] of mirror.versions) {
    const ours = manifestAt(mirror.text, slice, name)
    const there = evidence?.versions.get(version)
    const theirs = evidence && there && manifestAt(evidence.text, there, name)
    const merged = JSON.stringify(mergeVersion(ours, theirs, names))
    say(`${between}${JSON.stringify(version)}:${merged}`)
    between = ','
    await breathe()
  }
  say('}}')
  return Buffer.concat(pieces)
}

/** Two sets of validators in one etag. */
const pack = (mirror: Validators, evidence: Validators): Validators => ({
  etag: JSON.stringify([mirror, evidence]),
})

const unpack = (known: Validators | undefined): readonly [Validators?, Validators?] => {
  try {
    const both = JSON.parse(known?.etag ?? '[]') as unknown
    return Array.isArray(both) && both.length === 2 ? [record(both[0]), record(both[1])] : []
  } catch {
    // of a time before the two were joined
    return []
  }
}

const hasValidators = (known: Validators | undefined) =>
  known?.etag !== undefined || known?.lastModified !== undefined

/** Under the mirror's name. Closes neither. */
export const joinUpstreams = (mirror: Upstream, evidence: Upstream): Upstream => {
  const names = { mirror: mirror.name, evidence: evidence.name }

  /** A 304 of one of the two is no use when the other has changed. */
  const whole = (upstream: Upstream, name: string, answer: PackumentAnswer) =>
    answer.kind === 'not-modified' ? upstream.packument(name) : answer

  const packument = async (name: string, known?: Validators): Promise<PackumentAnswer> => {
    const [ours, theirs] = unpack(known)
    const conditional = hasValidators(ours) && hasValidators(theirs)
    const asked = await Promise.all([
      mirror.packument(name, conditional ? ours : undefined),
      evidence.packument(name, conditional ? theirs : undefined),
    ])
    if (asked.every(({ kind }) => kind === 'not-modified')) return { kind: 'not-modified' }
    const [here, there] = await Promise.all([
      whole(mirror, name, asked[0]),
      whole(evidence, name, asked[1]),
    ])
    if (here.kind === 'missing') return { kind: 'missing' }
    if (here.kind !== 'found' || there.kind === 'not-modified') {
      const message = `The upstream ${mirror.name} or ${evidence.name} answered 304 for ${name} although nothing was asked conditionally.`
      throw new AttestryError('EUPSTREAMDATA', message)
    }
    const merged = await mergePackuments(
      name,
      await slicePackument(here.body, name),
      there.kind === 'found' ? await slicePackument(there.body, name) : undefined,
      names,
    )
    const validators = ({ etag, lastModified }: Validators): Validators => ({
      ...(etag !== undefined && { etag }),
      ...(lastModified !== undefined && { lastModified }),
    })
    const both = there.kind === 'found' && hasValidators(here) && hasValidators(there)
    return {
      kind: 'found',
      body: merged,
      ...(both && pack(validators(here), validators(there))),
    }
  }

  return {
    name: mirror.name,
    url: mirror.url,
    evidenceFrom: evidence.name,
    packument,
    tarball: url => mirror.tarball(url),
    attestations: id => evidence.attestations(id),
    keys: () => evidence.keys(),
    forward: request => mirror.forward(request),
    close: () => Promise.resolve(),
  }
}
