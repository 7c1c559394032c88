/** From the bytes and the claims to facts and a decision; the same examiner and judge as when serving. */
import type { Examiner } from '../../evidence/examiner.ts'
import { bytesFact } from '../../gate/download.ts'
import { evidenceSummary, explain, type Explanation } from '../../policy/explain.ts'
import type { Policy } from '../../policy/policy.ts'
import type {
  Decision,
  Evidence,
  Fact,
  JudgeInput,
  ManifestAgreement,
  PackageId,
} from '../../types.ts'
import type { Sources } from './sources.ts'
import type { TarballFile } from './tarball-file.ts'

export type Examination = {
  readonly decision: Decision
  /** Why, where no policy was asked. */
  readonly because: readonly string[]
  readonly evidence: Evidence
  readonly summary: ReturnType<typeof evidenceSummary>
  /** Where policies were given; without where their files lie. */
  readonly explanation?: Explanation
}

/** Without a packument nobody told what the registry signed; that is no word that it did not. */
const unasked: Fact<never> = {
  state: 'unavailable',
  detail: 'It was not looked for: no packument was given.',
}

/** There is no packument to compare with; at least it must be the package it is taken for. */
const misnamed = async (
  wanted: PackageId,
  tarball: TarballFile,
): Promise<Fact<ManifestAgreement> | undefined> => {
  const invalid = { state: 'invalid', code: 'MANIFEST_MISMATCH' } as const
  try {
    const found = await tarball.named()
    if (wanted.name === found.name && wanted.version === found.version) return undefined
    return {
      ...invalid,
      detail: 'The package.json in the tarball is of another package or version.',
      wanted: `${wanted.name}@${wanted.version}`,
      found: `${found.name}@${found.version}`,
    }
  } catch {
    return { ...invalid, detail: 'The package.json in the tarball cannot be read.' }
  }
}

const manifestFact = async (
  examiner: Examiner,
  tarball: TarballFile,
  id: PackageId,
  { manifest }: Sources,
): Promise<Fact<ManifestAgreement> | undefined> =>
  manifest ? examiner.inspect(tarball.read(), manifest) : misnamed(id, tarball)

const bytesOf = <F extends Fact>(fact: F): F =>
  fact.state === 'invalid'
    ? { ...fact, detail: 'The tarball is not the one that the packument names.' }
    : fact

export const examineTarball = async (
  examiner: Examiner,
  tarball: TarballFile,
  id: PackageId,
  sources: Sources,
): Promise<Evidence> => {
  const { claims, attestations, sighting, manifest } = sources
  const { integrity, size, sha1 } = tarball
  // signatures have to be over these bytes, whatever the packument says of others
  const facts = await examiner.examine({
    package: id,
    integrity,
    claims,
    attestations,
    ...(sighting && { sighting }),
  })
  const agreement = await manifestFact(examiner, tarball, id, sources)
  return {
    ...facts,
    ...(manifest === undefined && { registrySignature: unasked }),
    // what nobody named the digest of cannot disagree with it
    ...(manifest && { bytes: bytesOf(bytesFact(claims, { info: { integrity, size }, sha1 })) }),
    ...(agreement && { manifest: agreement }),
  }
}

/**
 * Without a policy: whatever is claimed must verify, and something must. `sources` tells what was
 * not looked for and so does not count.
 */
export const factsDecision = (
  evidence: Evidence,
  { manifest: packument }: Sources,
): Pick<Examination, 'decision' | 'because'> => {
  const { registrySignature, publishAttestation, provenance, bytes, manifest } = evidence
  const signed = {
    ...(packument !== undefined && { 'registry signature': registrySignature }),
    'publish attestation': publishAttestation,
    provenance,
  }
  const all = Object.entries({ bytes, manifest, ...signed }) as [string, Fact | undefined][]
  const told = (state: 'invalid' | 'unavailable') =>
    all.flatMap(([name, fact]) => (fact?.state === state ? [`${name}: ${fact.detail}`] : []))
  const [invalid, unavailable] = [told('invalid'), told('unavailable')]
  if (invalid.length > 0) return { decision: 'refuse', because: invalid }
  if (unavailable.length > 0) return { decision: 'unavailable', because: unavailable }
  if (!Object.values(signed).some(({ state }) => state === 'verified'))
    return { decision: 'refuse', because: ['Nobody signed it, as far as was looked.'] }
  return { decision: 'allow', because: [] }
}

/** `policies`: none means that the facts alone decide. */
export const decide = (
  id: PackageId,
  evidence: Evidence,
  sources: Sources,
  policies: readonly Policy[],
  now: Date,
): Examination => {
  const summary = evidenceSummary(evidence)
  if (policies.length === 0) return { ...factsDecision(evidence, sources), evidence, summary }
  const { claims, history, upstream, sighting } = sources
  const input: JudgeInput = {
    package: id,
    upstream,
    evidence,
    claims,
    history,
    ...(sighting && { sighting }),
  }
  const { layers, ...rest } = explain(policies, input, now)
  const explanation = { ...rest, layers: layers.map(({ file: _file, ...layer }) => layer) }
  return { decision: rest.decision, because: [], evidence, summary, explanation }
}
