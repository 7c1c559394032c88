/** Evidence, releases and policies to judge, with only what a test is about spelled out. */
import { isAttestryError } from '../../lib/errors.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import type { Policy } from '../../lib/policy/policy.ts'
import type {
  Evidence,
  Fact,
  Identity,
  JudgeInput,
  Provenance,
  Release,
  VersionClaims,
  Vouch,
} from '../../lib/types.ts'

export const now = new Date('2026-11-22T12:00:00.000Z')
export const daysAgo = (days: number): string =>
  new Date(now.getTime() - days * 86_400_000).toISOString()

export const github = 'https://token.actions.githubusercontent.com'

export const identity = (over: Partial<Identity> = {}): Identity => ({
  issuer: github,
  subject: 'https://github.com/acme/lib/.github/workflows/release.yml@refs/tags/v1.2.3',
  subjectType: 'uri',
  signer: 'https://github.com/acme/lib/.github/workflows/release.yml@refs/tags/v1.2.3',
  repository: 'https://github.com/acme/lib',
  repositoryId: '1001',
  owner: 'https://github.com/acme',
  ownerId: '77',
  workflow: '.github/workflows/release.yml',
  ref: 'refs/tags/v1.2.3',
  commit: '0123456789abcdef0123456789abcdef01234567',
  trigger: 'push',
  runner: 'github-hosted',
  environment: 'npm',
  visibility: 'public',
  ...over,
})

export const verified = (who: Identity = identity(), time?: string): Fact<Provenance> => ({
  state: 'verified',
  identity: who,
  predicateType: 'https://slsa.dev/provenance/v1',
  buildType: 'https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1',
  builderId: 'https://github.com/actions/runner/github-hosted',
  ...(time !== undefined && { signedAt: { time, source: 'log' } }),
})

export const published = (time?: string): Evidence['publishAttestation'] => ({
  state: 'verified',
  keyId: 'SHA256:key',
  predicateType: 'https://github.com/npm/attestation/tree/main/specs/publish/v0.1',
  ...(time !== undefined && { signedAt: { time, source: 'log' } }),
})

export const google = 'https://accounts.google.com'
export const security = 'security@acme.example'
export const said = { reason: 'read it all', at: '2026-11-01T12:00:00.000Z' }

/** One by security@acme.example that never ends. */
export const vouch = (over: Partial<Vouch> = {}): Fact<Vouch> => ({
  state: 'verified',
  id: 'ab',
  signer: {
    kind: 'certificate',
    identity: { issuer: google, subject: security, subjectType: 'email' },
  },
  said,
  signedAt: { time: '2026-11-01T12:00:00.000Z', source: 'log' },
  ...over,
})

export const signed: Evidence['registrySignature'] = { state: 'verified', keyId: 'SHA256:key' }
export const absent = { state: 'absent' } as const
export const unavailable = {
  state: 'unavailable',
  detail: 'the upstream did not answer',
} as const
export const invalid = (
  code:
    | 'INVALID_SIGNATURE'
    | 'INVALID_ATTESTATION'
    | 'WRONG_SUBJECT'
    | 'INTEGRITY_MISMATCH'
    | 'MANIFEST_MISMATCH',
) => ({ state: 'invalid', code, detail: 'it does not verify' }) as const

const integrity = `sha512-${Buffer.alloc(64, 7).toString('base64')}` as const

export type Overrides = Partial<Omit<Evidence, 'package'>> & {
  readonly name?: string
  readonly version?: string
  readonly upstream?: string
  readonly claims?: Partial<VersionClaims>
  readonly sighting?: JudgeInput['sighting']
  readonly history?: readonly Release[]
}

/** A version that is signed by the registry, has provenance, and is a year old. */
export const input = (over: Overrides = {}): JudgeInput => {
  const {
    name = 'lib',
    version = '1.2.3',
    upstream = 'npm',
    claims,
    sighting,
    history,
    ...facts
  } = over
  const provenance = facts.provenance ?? verified()
  return {
    package: { name, version },
    upstream,
    evidence: {
      package: { name, version },
      integrity,
      registrySignature: signed,
      publishAttestation: provenance.state === 'absent' ? absent : published(),
      trust: 'ab'.repeat(32),
      ...facts,
      provenance,
    },
    claims: {
      version,
      integrity,
      tarball: `http://127.0.0.1/${version}.tgz`,
      signatures: [],
      publishedAt: daysAgo(365),
      ...claims,
    },
    ...(sighting && { sighting }),
    history: history ?? [],
  }
}

/** `1.2.3` without provenance, `1.2.3+` with; `@DAYS` says how many days ago it was published. */
export const releases = (...texts: string[]): readonly Release[] =>
  texts.map(text => {
    const [, version = '', plus, days] = /^([^+@]+)(\+)?(?:@(.+))?$/.exec(text) ?? []
    return {
      version,
      claimsProvenance: plus !== undefined,
      ...(days !== undefined && { publishedAt: daysAgo(Number(days)) }),
    }
  })

export const known = (release: Release | undefined, who: Identity): Release => ({
  version: '0.0.0',
  claimsProvenance: true,
  ...release,
  provenance: 'verified',
  identity: who,
})

export const policy = (text: string, name?: string): Policy =>
  parsePolicy(`version: 1\n${text}`, { file: 'test.policy.yaml', ...(name && { name }) })

/** The complaints about a text: `line:column: message`; throws when there are none, or another error. */
export const complaints = (text: string): readonly string[] => {
  try {
    parsePolicy(text, { file: 'f' })
  } catch (error) {
    if (!isAttestryError(error) || error.code !== 'EPOLICY') throw error
    return error.message.split('\n').map(line => line.replace(/^f:/, ''))
  }
  throw new Error('the policy was taken')
}
