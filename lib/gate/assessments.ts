/** Judging a version without serving it: for the why page, lockfile audits and policy drafts. */
import { AttestryError } from '../errors.ts'
import { explain, type Explanation } from '../policy/explain.ts'
import type { Policy } from '../policy/policy.ts'
import type { Evidence, Fact, Integrity, JudgeInput, PackageId, Verdict } from '../types.ts'
import type { EvidenceBook } from './evidence-book.ts'
import { idOf } from './evidence-facts.ts'
import type { Judges } from './judge.ts'
import type { PackageIndex } from './package-index.ts'
import type { Packages } from './packages.ts'
import type { SignatureWatch } from './signature-watch.ts'

/** A verdict and all it rests on; the input can be judged again by other policies. */
export type Assessment = {
  readonly verdict: Verdict
  readonly input: JudgeInput
  /** Things to know about the upstream or our view of it. */
  readonly notes: readonly string[]
}

/** The explanation of a verdict, without where the policy files lie on this machine. */
export type Why = Explanation & { readonly notes: readonly string[] }

export type AssessmentsOptions = {
  readonly packages: Packages
  readonly book: EvidenceBook
  readonly judges: Judges
  readonly signatures: SignatureWatch
  readonly policies: () => readonly Policy[]
  readonly now: () => Date
}

const otherBytes = (wanted: Integrity, found: Integrity): Fact<never> => ({
  state: 'invalid',
  code: 'INTEGRITY_MISMATCH',
  npmCode: 'EINTEGRITY',
  detail: 'The integrity that was asked about is not the one the packument names.',
  wanted,
  found,
})

export const openAssessments = (options: AssessmentsOptions) => {
  const { packages, book, judges, signatures, policies, now } = options

  const notesOn = (index: PackageIndex): readonly string[] => {
    const note = signatures.note(index.upstream)
    const since = new Date(index.fetchedAt).toISOString()
    const stale = `The upstream ${index.upstream} could not be reached; this is its word of ${since}.`
    return [...(note ? [note] : []), ...(index.stale ? [stale] : [])]
  }

  const assess = async (id: PackageId, integrity?: Integrity): Promise<Assessment> => {
    const held = await packages.get(id.name)
    // what we have may be from before it was published
    const index = held.versions.has(id.version) ? held : await packages.get(id.name, 0)
    const claims = index.versions.get(id.version)
    if (!claims) throw new AttestryError('ENOTFOUND', `${idOf(id)} is not in the packument.`)
    const standing = await judges.standingEvidence(index, claims)
    const stated = claims.integrity ?? integrity
    const looked = stated === undefined ? standing : await book.gather(index, claims, stated)
    const known: Evidence = standing.bytes?.state === 'invalid' ? standing : looked
    const evidence =
      integrity && claims.integrity && integrity !== claims.integrity
        ? { ...known, bytes: otherBytes(integrity, claims.integrity) }
        : known
    const input = await judges.inputFor(index, claims, evidence)
    return { verdict: judges.judge(input), input, notes: notesOn(index) }
  }

  /** What a dist-tag of the upstream names, also where the policy hides it. */
  const named = async ({ name, version }: PackageId): Promise<PackageId> => {
    const { versions, distTags } = await packages.get(name)
    const tagged = Object.hasOwn(distTags, version) ? distTags[version] : undefined
    return versions.has(version) || tagged === undefined
      ? { name, version }
      : { name, version: tagged }
  }

  return {
    /** Fetches and verifies what is claimed, but not the bytes. `integrity`: what somebody pinned. */
    assess,
    why: async (id: PackageId): Promise<Why> => {
      const { input, notes } = await assess(await named(id))
      const { layers, ...explanation } = explain(policies(), input, now())
      return { ...explanation, layers: layers.map(({ file: _file, ...rest }) => rest), notes }
    },
  }
}
