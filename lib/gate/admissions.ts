/**
 * Tarballs: nothing is readable before the verdict. The evidence is judged first (it needs no
 * bytes), the bytes are spooled at the same time, and only what both allow is renamed into place.
 */
import { AttestryError, isAttestryError } from '../errors.ts'
import type { Examiner } from '../evidence/examiner.ts'
import { toldDigest } from '../evidence/manifest-fields.ts'
import type { Store } from '../store/store.ts'
import type { Evidence, Fact, Integrity, PackageId, Verdict, VersionClaims } from '../types.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { Alone } from './alone.ts'
import { bytesFact, startDownload, type Download } from './download.ts'
import type { Epochs } from './epochs.ts'
import type { EvidenceBook } from './evidence-book.ts'
import { has, idOf } from './evidence-facts.ts'
import { openFlights } from './flights.ts'
import type { Judges } from './judge.ts'
import type { KeptVerdicts } from './kept-verdicts.ts'
import type { Memory } from './memory.ts'
import type { PackageIndex } from './package-index.ts'
import type { Packages } from './packages.ts'
import { openPins, type Pin } from './pins.ts'

export type Admission = {
  readonly verdict: Verdict
  /** Present when the verdict is `allow`. */
  readonly blob?: { readonly integrity: Integrity; readonly size: number }
  /** The verdict was not made for this request but remembered. */
  readonly remembered: boolean
}

/** A verdict, and what makes it remembered, to be called once it is on record. */
export type Admitted = {
  readonly admission: Admission
  readonly remember?: () => void
  /** Makes it known to the other processes; none of them gives it without putting it on record. */
  readonly keep?: () => void
}

export type AdmissionsOptions = {
  readonly store: Store
  readonly alone: Alone
  readonly packages: Packages
  readonly book: EvidenceBook
  readonly judges: Judges
  readonly examinerFor: (upstream: string) => Examiner
  readonly epochs: Epochs
  readonly upstreamFor: (name: string) => Upstream
  readonly now: () => Date
  readonly kept?: Pick<KeptVerdicts, 'grounds' | 'admission' | 'keepAdmission'> | undefined
  /** Shared with others, whose `key` is another. */
  readonly memory: Pick<Memory, 'hot'>
  readonly key: string
}

const NO_BYTES: Integrity = 'sha512-'

const repinned = (pinned: Integrity, claimed: Integrity): Fact<never> => ({
  state: 'invalid',
  code: 'INTEGRITY_MISMATCH',
  npmCode: 'EINTEGRITY',
  detail: 'The upstream now names other bytes than those that were admitted for this version.',
  wanted: pinned,
  found: claimed,
})

/** `epoch`: as long as it is the package's, the verdict may be remembered. */
type Decided = {
  readonly verdict: Verdict
  readonly blob?: Pin
  readonly epoch?: number | undefined
  /** What it rests on, where it may be kept. */
  readonly grounds?: string | undefined
}

export const openAdmissions = (options: AdmissionsOptions) => {
  const { store, packages, book, judges, examinerFor, epochs, upstreamFor, now, kept } = options
  const { hot } = options.memory
  const keys = new WeakMap<PackageId, string>()
  const hotKey = (id: PackageId): string => {
    const known = keys.get(id)
    if (known !== undefined) return known
    const key = `${options.key} ${idOf(id)}`
    keys.set(id, key)
    return key
  }
  const flight = openFlights<Admitted>()
  const pins = openPins(store)

  const find = async ({ name, version }: PackageId) => {
    // whatever age: a version we know needs no fresh packument to be judged
    const known = await packages.get(name, Number.POSITIVE_INFINITY)
    const fresh = known.versions.has(version) ? known : await packages.get(name)
    const index = fresh.versions.has(version) ? fresh : await packages.latest(fresh)
    const claims = index.versions.get(version)
    if (claims) return { index, claims }
    throw new AttestryError('ENOTFOUND', `${name} has no version ${version}.`)
  }

  const verdictOn = async (index: PackageIndex, claims: VersionClaims, evidence: Evidence) =>
    judges.judge(await judges.inputFor(index, claims, evidence))

  /** The same, with what it rests on; `held`: the facts, as the book has them. */
  const groundedVerdictOn = async (
    index: PackageIndex,
    claims: VersionClaims,
    evidence: Evidence,
    held: Evidence,
  ) => {
    const before = await kept?.grounds(index, held)
    const input = await judges.inputFor(index, claims, evidence)
    const verdict = judges.judge(input)
    if (before === undefined || has(held, 'invalid')) return { verdict }
    // what could not be looked at is looked at again by whoever asks next
    const looked = input.history.every(({ provenance }) => provenance !== 'unavailable')
    const still = looked && (await kept?.grounds(index, held)) === before
    return { verdict, ...(still && { grounds: before }) }
  }

  /** What the bytes themselves say, added to what was signed over them. */
  const withBytes = async (
    index: PackageIndex,
    claims: VersionClaims,
    evidence: Evidence,
    download: Download,
  ): Promise<Evidence> => {
    const bytes = bytesFact(claims, download, upstreamFor(index.name))
    if (bytes.state !== 'verified') return { ...evidence, bytes }
    const claimed = await packages.manifest(index, claims.version)
    const { staged } = download
    const tarball = staged.held?.() ?? staged.read()
    const manifest = await examinerFor(index.upstream).inspect(tarball, claimed)
    return { ...evidence, bytes, manifest }
  }

  /**
   * What a verdict that is made now rests on, to be asked before it is made; undefined where the
   * package or the trust is another already than that of the facts at hand: such a verdict is for
   * whoever asked, and not remembered.
   */
  const epochFor = (index: PackageIndex, evidence: Evidence): number | undefined => {
    const current = packages.fresh(index.name, Number.POSITIVE_INFINITY)?.raw === index.raw
    const trusted = evidence.trust === examinerFor(index.upstream).trust
    return current && trusted ? epochs.of(index.name) : undefined
  }

  /**
   * The evidence with what is in bytes that are here held against what the packument says now: what
   * agreed once says nothing of another manifest. Undefined where the bytes are gone.
   */
  const comparedAgain = async (
    index: PackageIndex,
    claims: VersionClaims,
    evidence: Evidence,
  ): Promise<Evidence | undefined> => {
    const { manifest: before } = evidence
    if (before?.state === 'invalid') return evidence
    const claimed = await packages.manifest(index, claims.version)
    if (before?.state === 'verified' && before.told === toldDigest(claimed)) return evidence
    const opened = await store.blobs.open(evidence.integrity)
    if (!opened) return undefined
    const manifest = await examinerFor(index.upstream).inspect(opened.stream, claimed)
    const compared = { ...evidence, manifest }
    await book.keep(compared, claims, index.upstream)
    return compared
  }

  /** Judges bytes that are already here. */
  const readmit = async (
    index: PackageIndex,
    claims: VersionClaims,
    pin: Pin,
  ): Promise<Decided | undefined> => {
    const gathered = await book.gather(index, claims, pin.integrity)
    const evidence = await comparedAgain(index, claims, gathered)
    if (!evidence) return undefined
    const bytes = { state: 'verified', size: pin.size } as const
    const epoch = epochFor(index, evidence)
    const made = await groundedVerdictOn(index, claims, { ...evidence, bytes }, evidence)
    return { ...made, blob: pin, epoch }
  }

  /**
   * No bytes came and no digest was promised, so nothing can be compared; but attestations that are
   * broken whatever the bytes are a finding, and the version must not go on being shown.
   */
  const forgedAnyway = async (index: PackageIndex, claims: VersionClaims, error: unknown) => {
    if (!isAttestryError(error) || error.code !== 'ENOTFOUND') throw error
    const evidence = await book.gather(index, claims, NO_BYTES)
    const forged = await verdictOn(index, claims, evidence)
    const finding = forged.reasons.some(({ code }) => code === 'INVALID_ATTESTATION')
    if (!finding || forged.decision !== 'refuse') throw error
    return { forged }
  }

  const admitNew = async (index: PackageIndex, claims: VersionClaims): Promise<Decided> => {
    const id = { name: index.name, version: claims.version }
    const known = claims.integrity && (await book.recall(index, claims, claims.integrity))
    const already = known && (await verdictOn(index, claims, known))
    if (already?.decision === 'refuse') return { verdict: already }
    const download = startDownload(upstreamFor(id.name), claims, store.blobs)
    try {
      const promised = claims.integrity
      if (promised) {
        const first = await verdictOn(index, claims, await book.gather(index, claims, promised))
        if (first.decision !== 'allow') return { verdict: first }
      }
      const arrived = promised
        ? await download.done
        : await download.done.catch(error => forgedAnyway(index, claims, error))
      if ('forged' in arrived) return { verdict: arrived.forged }
      const integrity = promised ?? arrived.info.integrity
      const signed = await book.gather(index, claims, integrity)
      const evidence = await withBytes(index, claims, signed, arrived)
      // kept first: what is learnt from the bytes counts as a change, and the verdict is to outlive it
      await book.keep(evidence, claims, index.upstream)
      const epoch = epochFor(index, evidence)
      const { verdict, grounds } = await groundedVerdictOn(index, claims, evidence, evidence)
      if (verdict.decision !== 'allow') return { verdict }
      const pin: Pin = { ...arrived.info, at: now().toISOString() }
      const pinned = await pins.putIfAbsent(id, index.upstream, pin)
      if (pinned.integrity !== pin.integrity) return await refuseRepinned(index, claims, pinned)
      await arrived.staged.commit()
      return { verdict, blob: pinned, epoch, grounds }
    } finally {
      // after a commit there is nothing left to abandon
      download.abandon()
    }
  }

  const refuseRepinned = async (index: PackageIndex, claims: VersionClaims, pin: Pin) => {
    const evidence = await judges.standingEvidence(index, claims)
    const found = claims.integrity ?? 'sha512-'
    const bytes = repinned(pin.integrity, found)
    return { verdict: await verdictOn(index, claims, { ...evidence, bytes }) }
  }

  /** Judges what needs no download: bytes that are here, and a promise of other bytes. */
  const decideHere = async (
    index: PackageIndex,
    claims: VersionClaims,
  ): Promise<Decided | undefined> => {
    const pin = await pins.get({ name: index.name, version: claims.version }, index.upstream)
    if (!pin) return undefined
    const moved = claims.integrity !== undefined && pin.integrity !== claims.integrity
    if (moved) return refuseRepinned(index, claims, pin)
    const here = await store.blobs.stat(pin.integrity)
    return here && (await readmit(index, claims, pin))
  }

  const decide = async (index: PackageIndex, claims: VersionClaims): Promise<Decided> => {
    const here = () => decideHere(index, claims)
    const key = `admit ${index.upstream} ${index.name}@${claims.version}`
    return (
      (await here()) ?? (await options.alone<Decided>(key, here, () => admitNew(index, claims)))
    )
  }

  /** What another process decided, or this one before, where it still holds. */
  const decided = async (id: PackageId): Promise<Decided | undefined> => {
    if (!kept) return undefined
    // before anything is read: what changes meanwhile counts
    const epoch = epochs.of(id.name)
    const pin = await pins.get(id, upstreamFor(id.name).name)
    const head = pin && (await packages.head(id.name, Number.POSITIVE_INFINITY))
    const verdict = head && (await kept.admission(id, head, pin))
    return verdict && (await store.blobs.stat(pin.integrity))
      ? { verdict, blob: pin, epoch }
      : undefined
  }

  const decideNow = async (id: PackageId): Promise<Decided> => {
    const { index, claims } = await find(id)
    return decide(index, claims)
  }

  const admit = async (id: PackageId): Promise<Admitted> => {
    const { verdict, blob, epoch, grounds } = (await decided(id)) ?? (await decideNow(id))
    const admission: Admission = {
      verdict,
      remembered: false,
      ...(verdict.decision === 'allow' &&
        blob && { blob: { integrity: blob.integrity, size: blob.size } }),
    }
    // observe mode lets through what could not be checked; it is checked again the next time
    const checked = verdict.reasons.every(({ code }) => code !== 'EVIDENCE_UNAVAILABLE')
    if (!admission.blob || !checked || epoch === undefined) return { admission }
    const changesAt = verdict.changesAt ? Date.parse(verdict.changesAt) : Infinity
    const remember = () => {
      const remembered = { ...admission, remembered: true }
      hot.set(hotKey(id), { admission: remembered, epoch, changesAt })
    }
    if (grounds === undefined) return { admission, remember }
    return { admission, remember, keep: () => kept?.keepAdmission(id, verdict, grounds) }
  }

  /** An allow that still holds: nothing it rests on has changed, and its time is not over. */
  const remembered = (id: PackageId): Admission | undefined => {
    const known = hot.get(hotKey(id))
    return known && known.epoch === epochs.of(id.name) && now().getTime() < known.changesAt
      ? known.admission
      : undefined
  }

  return {
    remembered,
    /** The verdict on a version and, when allowed, the bytes it means. */
    admit: async (id: PackageId): Promise<Admitted> => {
      const admission = remembered(id)
      if (admission) return { admission }
      // nobody who asks after a change of policy or trust gets a verdict begun before it
      return flight(`${idOf(id)} ${epochs.generation()}`, () => admit(id))
    },
    /** The blob was gone when it was to be read (evicted): forget that it is here. */
    forget: (id: PackageId): boolean => hot.delete(hotKey(id)),
  }
}
