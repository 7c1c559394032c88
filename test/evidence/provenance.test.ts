/** Provenance, signed here: what verifies, and every single thing that must not. */
import t from 'tap'
import { envelopeOf } from '../../lib/evidence/statement.ts'
import type { Fact, Provenance, RootScope } from '../../lib/types.ts'
import {
  emailCertificate,
  gitlabCertificate,
  localSigstore,
  type Attestation,
  type ProvenanceOptions,
  type Statement,
} from '../support/local-sigstore.ts'
import {
  artifact,
  changed,
  examineOnly,
  otherIntegrity,
  outcome,
  verificationFor,
} from './lab.ts'

const sigstore = await localSigstore()
t.teardown(() => sigstore.close())
const verification = verificationFor(sigstore)

const publisher = { repository: 'acme/widget', environment: 'release' }
const gitlab = { project: 'acme/tools/widget' }

const attest = (options: Partial<ProvenanceOptions> = {}) =>
  sigstore.attestProvenance({ ...artifact, publisher, ...options })
const provenanceOf = (attestation: Attestation): Fact<Provenance> =>
  examineOnly(verification, attestation).provenance
const judge = async (options?: Partial<ProvenanceOptions>) =>
  provenanceOf(await attest(options))

t.test('what is honest verifies, in every form', async t => {
  const forms: readonly (readonly [string, Partial<ProvenanceOptions>])[] = [
    ['bundle 0.1, intoto', { bundle: '0.1' }],
    ['bundle 0.2, intoto', { bundle: '0.2', entry: 'intoto' }],
    ['bundle 0.2, dsse', { bundle: '0.2' }],
    ['bundle 0.3', { bundle: '0.3' }],
    ['bundle 0.3 with a timestamp', { timestamp: true }],
    ['Rekor v2 with a timestamp', { entry: 'dsse-v2' }],
    ['SLSA v0.2 from GitHub', { predicate: 'v0.2' }],
    [
      'SLSA v0.2, certificate of before 2023',
      { predicate: 'v0.2', publisher: { ...publisher, era: 'legacy' } },
    ],
    ['GitLab', { gitlab }],
    ['a scoped tag', { publisher: { ...publisher, ref: 'refs/tags/@acme/widget@1.2.3' } }],
    ['self-hosted runner', { publisher: { ...publisher, runner: 'self-hosted' } }],
    [
      'a run that was repeated',
      { publisher: { ...publisher, run: { id: '7', attempt: '2' } } },
    ],
  ]
  for (const [title, options] of forms) {
    const fact = await judge(options)
    t.match(fact, { state: 'verified', predicateType: /^https:\/\/slsa\.dev\// }, title)
  }
})

t.test(
  "the time is the log's, or a timestamp authority's where the log tells none",
  async t => {
    const signedAt = '2026-02-03T04:05:06.000Z'
    t.match(await judge({ signedAt }), { signedAt: { time: signedAt, source: 'log' } })
    t.match(await judge({ signedAt, entry: 'dsse-v2' }), {
      signedAt: { time: signedAt, source: 'timestamp-authority' },
    })
    t.equal(outcome(await judge({ entry: 'dsse-v2', timestamp: false })), 'INVALID_ATTESTATION')
  },
)

t.test('what npm cut short is no contradiction', async t => {
  const ref = 'refs/tags/@acme/widget@1.2.3'
  const path = 'predicate.buildDefinition.externalParameters.workflow.ref'
  const options = { publisher: { ...publisher, ref } }
  t.equal((await judge({ ...options, ...changed(path, 'refs/tags/') })).state, 'verified')
  t.equal(
    outcome(await judge({ ...options, ...changed(path, 'refs/tags') })),
    'INVALID_ATTESTATION',
  )
})

t.test('a statement that is not what it should be', async t => {
  const subject = (s: Statement) => s.subject[0] as Statement['subject'][number]
  const cases: Readonly<Record<string, readonly [string, Partial<ProvenanceOptions>]>> = {
    'another package': ['WRONG_SUBJECT', { name: '@acme/gadget' }],
    'another version': ['WRONG_SUBJECT', { version: '1.2.4' }],
    'other bytes': ['WRONG_SUBJECT', { integrity: otherIntegrity }],
    'an unescaped scope': [
      'WRONG_SUBJECT',
      changed('subject.0.name', 'pkg:npm/@acme/widget@1.2.3'),
    ],
    'no digest': ['WRONG_SUBJECT', changed('subject.0.digest', {})],
    'a digest of another kind': [
      'WRONG_SUBJECT',
      changed('subject.0.digest', { sha256: 'a'.repeat(64) }),
    ],
    'no subject': ['WRONG_SUBJECT', changed('subject', [])],
    'two subjects': [
      'WRONG_SUBJECT',
      { tamper: { statement: s => ({ ...s, subject: [subject(s), subject(s)] }) } },
    ],
    'subject that is no list': [
      'WRONG_SUBJECT',
      changed('subject', 'pkg:npm/%40acme/widget@1.2.3'),
    ],
    'another payload type': ['INVALID_ATTESTATION', { tamper: { payloadType: 'text/plain' } }],
    'an unknown statement type': [
      'INVALID_ATTESTATION',
      changed('_type', 'https://in-toto.io/Statement/v9'),
    ],
    'no predicate': ['INVALID_ATTESTATION', changed('predicate', null)],
    'a payload that is not JSON': [
      'INVALID_ATTESTATION',
      { tamper: { payload: () => Buffer.from('{') } },
    ],
    'a wrapper that says another version': [
      'INVALID_ATTESTATION',
      { tamper: { predicateType: 'https://slsa.dev/provenance/v0.2' } },
    ],
    'a wrapper that says it is nothing': [
      'INVALID_ATTESTATION',
      { tamper: { predicateType: 'x' } },
    ],
    'an unknown version': [
      'INVALID_ATTESTATION',
      changed('predicateType', 'https://slsa.dev/provenance/v9'),
    ],
  }
  for (const [title, [code, options]] of Object.entries(cases))
    t.equal(outcome(await judge(options)), code, title)
})

t.test('an envelope or bundle that is not what it should be', async t => {
  const cases: Readonly<Record<string, Partial<ProvenanceOptions>>> = {
    'signed by a registry key': { key: sigstore.keys[0] as never },
    'no log entry': { entry: 'none' },
    'no log entry but a timestamp': { entry: 'none', timestamp: true },
    'a certificate no certificate log has seen': { tamper: { sct: false } },
    'two signatures': {
      tamper: {
        bundle: bundle => {
          const [one] = bundle.dsseEnvelope.signatures
          if (one) bundle.dsseEnvelope.signatures.push({ ...one })
        },
      },
    },
    'a key id beside the certificate': {
      tamper: {
        bundle: ({ dsseEnvelope: { signatures } }) => {
          if (signatures[0]) signatures[0].keyid = sigstore.keys[0]?.keyId ?? ''
        },
      },
    },
    'another payload': {
      tamper: {
        bundle: ({ dsseEnvelope }) => {
          dsseEnvelope.payload = Buffer.from('{}').toString('base64')
        },
      },
    },
    'an unknown bundle version': {
      tamper: {
        bundle: bundle => {
          bundle.mediaType = 'application/vnd.dev.sigstore.bundle+json;version=0.9'
        },
      },
    },
    'too many log entries': {
      tamper: {
        bundle: ({ verificationMaterial: { tlogEntries } }) => {
          for (let i = 0; i < 20; i++) tlogEntries.push({ ...tlogEntries[0] })
        },
      },
    },
  }
  for (const [title, options] of Object.entries(cases))
    t.equal(outcome(await judge(options)), 'INVALID_ATTESTATION', title)
  // each has a second guard behind it: told by what was found
  t.match(await judge(cases['signed by a registry key']), { found: 'a key' })
  t.match(await judge(cases['too many log entries']), { found: '21 and 0' })
})

t.test('one signature, even where the library would take more', async t => {
  const envelope = (count: number) =>
    ({
      content: {
        $case: 'dsseEnvelope',
        dsseEnvelope: {
          payload: Buffer.from('{}'),
          payloadType: 'application/vnd.in-toto+json',
          signatures: Array.from({ length: count }, () => ({
            sig: Buffer.from('x'),
            keyid: '',
          })),
        },
      },
    }) as unknown as Parameters<typeof envelopeOf>[0]
  t.equal(envelopeOf(envelope(1)).keyId, '')
  for (const count of [0, 2]) t.throws(() => envelopeOf(envelope(count)), { name: 'Finding' })
})

t.test('the predicate contradicts the certificate: SLSA v1', async t => {
  const build = 'predicate.buildDefinition'
  const github = `${build}.internalParameters.github`
  const workflow = `${build}.externalParameters.workflow`
  const source = `${build}.resolvedDependencies.0`
  const details = 'predicate.runDetails'
  const wrong: Readonly<Record<string, unknown>> = {
    [`${workflow}.repository`]: 'https://github.com/acme/other',
    [`${workflow}.path`]: '.github/workflows/other.yml',
    [`${workflow}.ref`]: 'refs/heads/other',
    [`${github}.event_name`]: 'pull_request',
    [`${github}.repository_id`]: '99',
    [`${github}.repository_owner_id`]: '99',
    [`${github}.runner_environment`]: 'self-hosted',
    [`${source}.uri`]: 'git+https://github.com/acme/other@refs/heads/main',
    [`${source}.digest.gitCommit`]: 'f'.repeat(40),
    [`${build}.resolvedDependencies`]: 'none',
    [`${build}.buildType`]: undefined,
    [`${details}.metadata.invocationId`]:
      'https://github.com/acme/widget/actions/runs/9/attempts/1',
    [`${details}.builder.id`]: 'https://github.com/actions/runner/self-hosted',
    [build]: 'none',
  }
  for (const [path, value] of Object.entries(wrong)) {
    const fact = await judge(changed(path, value))
    t.equal(outcome(fact), 'INVALID_ATTESTATION', path)
  }
  const ref = `git+https://github.com/acme/widget@refs/heads/other`
  t.equal(
    outcome(await judge(changed(`${source}.uri`, ref))),
    'INVALID_ATTESTATION',
    'ref of the source',
  )
  const attempt = 'https://github.com/acme/widget/actions/runs/3000003/attempts/2'
  t.equal(
    outcome(await judge(changed(`${details}.metadata.invocationId`, attempt))),
    'INVALID_ATTESTATION',
    'attempt',
  )
  const forged =
    'https://github.com/slsa-framework/slsa-github-generator/.github/workflows/builder_nodejs_slsa3.yml@refs/tags/v1.6.0'
  t.equal(
    outcome(await judge(changed(`${details}.builder.id`, forged))),
    'INVALID_ATTESTATION',
    'builder',
  )
})

t.test('what a predicate leaves out contradicts nothing', async t => {
  const build = 'predicate.buildDefinition'
  for (const path of [
    `${build}.internalParameters`,
    `${build}.externalParameters`,
    `${build}.resolvedDependencies`,
    'predicate.runDetails.metadata',
  ])
    t.equal((await judge(changed(path, undefined))).state, 'verified', path)
  const tools = [{ uri: 'https://nodejs.example/node.tgz', digest: { sha256: 'a' } }]
  t.equal((await judge(changed(`${build}.resolvedDependencies`, tools))).state, 'verified')
})

t.test('the predicate contradicts the certificate: SLSA v0.2', async t => {
  const source = 'predicate.invocation.configSource'
  const environment = 'predicate.invocation.environment'
  const wrong: Readonly<Record<string, unknown>> = {
    [`${source}.uri`]: 'git+https://github.com/acme/other@refs/heads/main',
    [`${source}.digest.sha1`]: 'f'.repeat(40),
    [`${source}.entryPoint`]: '.github/workflows/other.yml',
    [`${environment}.GITHUB_EVENT_NAME`]: 'pull_request',
    [`${environment}.GITHUB_REF`]: 'refs/heads/other',
    [`${environment}.GITHUB_REPOSITORY`]: 'acme/other',
    [`${environment}.GITHUB_REPOSITORY_ID`]: '99',
    [`${environment}.GITHUB_REPOSITORY_OWNER_ID`]: '99',
    [`${environment}.GITHUB_RUN_ID`]: '99',
    [`${environment}.GITHUB_RUN_ATTEMPT`]: '99',
    [`${environment}.GITHUB_SHA`]: 'f'.repeat(40),
    [`${environment}.GITHUB_WORKFLOW_REF`]:
      'acme/widget/.github/workflows/other.yml@refs/heads/main',
    [`${environment}.GITHUB_WORKFLOW_SHA`]: 'f'.repeat(40),
    'predicate.metadata.buildInvocationId': '3000003-2',
    'predicate.materials.0.uri': 'git+https://github.com/acme/other',
    'predicate.materials.0.digest.sha1': 'f'.repeat(40),
    'predicate.builder.id': '',
    'predicate.buildType': 7,
  }
  for (const [path, value] of Object.entries(wrong))
    t.equal(
      outcome(await judge({ predicate: 'v0.2', ...changed(path, value) })),
      'INVALID_ATTESTATION',
      path,
    )
  const whole = 'acme/widget/.github/workflows/release.yml@refs/heads/main'
  const entry = changed(`${source}.entryPoint`, whole)
  t.equal(
    (await judge({ predicate: 'v0.2', ...entry })).state,
    'verified',
    'as npm 9.2 wrote it',
  )
})

t.test('the predicate contradicts the certificate: GitLab', async t => {
  const parameters = 'predicate.invocation.parameters'
  const wrong: Readonly<Record<string, unknown>> = {
    'predicate.invocation.configSource.uri': 'git+https://gitlab.com/acme/other',
    'predicate.invocation.configSource.digest.sha1': 'f'.repeat(40),
    [`${parameters}.CI_PROJECT_ID`]: '99',
    [`${parameters}.CI_PROJECT_NAMESPACE_ID`]: '99',
    [`${parameters}.CI_PROJECT_URL`]: 'https://gitlab.com/acme/other',
    [`${parameters}.CI_COMMIT_SHA`]: 'f'.repeat(40),
    [`${parameters}.CI_PIPELINE_SOURCE`]: 'web',
    [`${parameters}.CI_JOB_URL`]: 'https://gitlab.com/acme/tools/widget/-/jobs/1',
    [`${parameters}.CI_JOB_ID`]: '1',
    'predicate.metadata.buildInvocationId': 'https://gitlab.com/acme/tools/widget/-/jobs/1',
    'predicate.materials.0.digest.sha1': 'f'.repeat(40),
    'predicate.builder.id': 'https://gitlab.com/acme/other/-/runners/1',
  }
  for (const [path, value] of Object.entries(wrong))
    t.equal(
      outcome(await judge({ gitlab, ...changed(path, value) })),
      'INVALID_ATTESTATION',
      path,
    )
})

t.test('a person cannot vouch for a source that Fulcio did not certify', async t => {
  const person = { certificate: () => emailCertificate('eve@evil.example') }
  t.equal(outcome(await judge({ tamper: person })), 'INVALID_ATTESTATION')
  const stated: Readonly<Record<string, object>> = {
    repository: { externalParameters: { workflow: { repository: 'https://github.com/a/b' } } },
    ref: { externalParameters: { workflow: { ref: 'refs/heads/main' } } },
    trigger: { internalParameters: { github: { event_name: 'push' } } },
    source: { resolvedDependencies: [{ uri: 'git+https://github.com/a/b' }] },
  }
  const alone = (definition: object) => {
    const { statement } = changed('predicate.buildDefinition', {
      buildType: 'x',
      ...definition,
    }).tamper
    return judge({ tamper: { ...person, statement } })
  }
  for (const [field, definition] of Object.entries(stated))
    t.equal(outcome(await alone(definition)), 'INVALID_ATTESTATION', field)
  t.match(await alone({}), { identity: { subject: 'eve@evil.example', subjectType: 'email' } })
  const other = { tamper: { certificate: () => gitlabCertificate({ project: 'acme/widget' }) } }
  t.equal(outcome(await judge(other)), 'INVALID_ATTESTATION', 'the same path on another host')
})

t.test('a root that did not sign it', async t => {
  const stranger = await localSigstore()
  t.teardown(() => stranger.close())
  const attestation = await attest()
  const under = (...roots: readonly object[]) =>
    examineOnly(verificationFor(sigstore, undefined, roots), attestation).provenance
  t.equal(outcome(under(stranger.trustedRoot)), 'INVALID_ATTESTATION')
  t.equal(under(stranger.trustedRoot, sigstore.trustedRoot).state, 'verified', 'one of several')
  const broken = await attest({
    tamper: {
      bundle: ({ dsseEnvelope }) => {
        dsseEnvelope.payloadType = 'text/plain'
      },
    },
  })
  const both = verificationFor(sigstore, undefined, [
    sigstore.trustedRoot,
    stranger.trustedRoot,
  ])
  const told = examineOnly(both, broken).provenance
  t.match(told, { detail: /signature/ }, 'the error of the root that came furthest is told')
})

t.test('a root that may speak for some only', async t => {
  const stranger = await localSigstore()
  t.teardown(() => stranger.close())
  const { trustedRoot } = sigstore
  const github = 'https://token.actions.githubusercontent.com'
  const own = 'https://github.com/acme/widget/**@refs/heads/*'
  const attestation = await attest()
  const under = (scope: RootScope, roots = [trustedRoot], scopes: readonly RootScope[] = []) =>
    examineOnly(verificationFor(sigstore, undefined, roots, [scope, ...scopes]), attestation)
      .provenance
  for (const scope of [
    { issuers: [github] },
    { issuers: ['https://gitlab.com', github] },
    { subjects: [own] },
    { issuers: [github], subjects: ['https://github.com/other/**', own] },
  ])
    t.equal(under(scope).state, 'verified', JSON.stringify(scope))
  const beyond: readonly (readonly [RootScope, object])[] = [
    [{ issuers: ['https://gitlab.com'] }, { wanted: 'https://gitlab.com', found: github }],
    // a prefix, another case, a slash more: issuers are compared whole
    [{ issuers: ['https://token.actions'] }, { found: github }],
    [{ issuers: [`${github}/`] }, { found: github }],
    [{ issuers: [] }, { found: github }],
    [{ subjects: ['https://github.com/acme/*'] }, { found: /acme\/widget/ }],
    [{ subjects: ['acme/widget'] }, { found: /acme\/widget/ }],
    [{ issuers: [github], subjects: ['https://github.com/other/**'] }, {}],
    [{ issuers: ['https://gitlab.com'], subjects: [own] }, {}],
  ]
  for (const [scope, said] of beyond)
    t.match(
      under(scope),
      { state: 'invalid', code: 'INVALID_ATTESTATION', detail: /may not speak for/, ...said },
      JSON.stringify(scope),
    )
  const gitlab = { issuers: ['https://gitlab.com'] }
  t.match(
    under(gitlab, [trustedRoot, stranger.trustedRoot], [{}]),
    { detail: /may not speak for/ },
    'another root, that has not signed it, does not help',
  )
  const both = [trustedRoot, trustedRoot]
  t.equal(under(gitlab, both, [{ issuers: [github] }]).state, 'verified', 'one of two may')
  t.equal(under(gitlab, both, [{}]).state, 'verified', 'a second root may speak for everybody')
})
