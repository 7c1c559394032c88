/** From certificate to identity: what it says, whom it names, and certificates that lie. */
import t from 'tap'
import {
  emailCertificate,
  githubCertificate,
  localSigstore,
  type CertificateRequest,
  type ProvenanceOptions,
} from '../support/local-sigstore.ts'
import { artifact, changed, examineOnly, outcome, verificationFor } from './lab.ts'

const sigstore = await localSigstore()
t.teardown(() => sigstore.close())
const verification = verificationFor(sigstore)

const publisher = { repository: 'acme/widget', environment: 'release' }
const gitlab = { project: 'acme/tools/widget' }

const judge = async (options: Partial<ProvenanceOptions> = {}) =>
  examineOnly(
    verification,
    await sigstore.attestProvenance({ ...artifact, publisher, ...options }),
  ).provenance

/** The extension `.oid` says something else, or is left out. */
const withExtension =
  (oid: number, value: string | undefined) =>
  (request: CertificateRequest): CertificateRequest => {
    const raw = oid <= 6 ? { raw: true } : {}
    const others = request.extensions.filter(extension => extension.oid !== oid)
    return {
      ...request,
      extensions: value === undefined ? others : [...others, { oid, value, ...raw }],
    }
  }

t.test('the identity is the certificate', async t => {
  const fact = await judge()
  if (fact.state !== 'verified') return t.fail(JSON.stringify(fact))
  t.strictSame(fact.identity, {
    issuer: 'https://token.actions.githubusercontent.com',
    subject: 'https://github.com/acme/widget/.github/workflows/release.yml@refs/heads/main',
    subjectType: 'uri',
    signer: 'https://github.com/acme/widget/.github/workflows/release.yml@refs/heads/main',
    signerDigest: '0123456789abcdef0123456789abcdef01234567',
    runner: 'github-hosted',
    repository: 'https://github.com/acme/widget',
    commit: '0123456789abcdef0123456789abcdef01234567',
    ref: 'refs/heads/main',
    repositoryId: '1000001',
    owner: 'https://github.com/acme',
    ownerId: '2000002',
    workflow: '.github/workflows/release.yml',
    workflowUri: 'https://github.com/acme/widget/.github/workflows/release.yml@refs/heads/main',
    workflowDigest: '0123456789abcdef0123456789abcdef01234567',
    workflowName: 'release',
    trigger: 'push',
    run: 'https://github.com/acme/widget/actions/runs/3000003/attempts/1',
    visibility: 'public',
    environment: 'release',
    tokenSubject: 'repo:acme/widget:environment:release',
  })
  t.equal(fact.signedAt?.source, 'log')
})

t.test('a certificate of before 2023 gives what it can', async t => {
  const fact = await judge({ predicate: 'v0.2', publisher: { ...publisher, era: 'legacy' } })
  t.match(fact, {
    identity: {
      repository: 'https://github.com/acme/widget',
      workflow: '.github/workflows/release.yml',
      trigger: 'push',
      repositoryId: undefined,
      signer: undefined,
    },
  })
})

t.test('a reusable workflow signs for its caller', async t => {
  const signer = 'acme/build/.github/workflows/publish.yml@refs/tags/v3'
  const fact = await judge({
    publisher: { ...publisher, signer, signerDigest: 'f'.repeat(40) },
  })
  t.match(fact, {
    state: 'verified',
    identity: {
      subject: `https://github.com/${signer}`,
      signer: `https://github.com/${signer}`,
      repository: 'https://github.com/acme/widget',
      workflow: '.github/workflows/release.yml',
    },
  })
  const legacy = await judge({
    predicate: 'v0.2',
    publisher: { ...publisher, era: 'legacy', signer },
    ...changed('predicate.invocation.environment', {}),
  })
  t.match(legacy, { state: 'verified', identity: { workflow: undefined } })
})

t.test('GitLab', async t => {
  const fact = await judge({ gitlab })
  t.match(fact, {
    state: 'verified',
    identity: {
      issuer: 'https://gitlab.com',
      repository: 'https://gitlab.com/acme/tools/widget',
      workflow: '.gitlab-ci.yml',
      run: 'https://gitlab.com/acme/tools/widget/-/jobs/6000006',
    },
  })
})

t.test('the certificate contradicts itself', async t => {
  const cases: Readonly<Record<string, CertificateRequest>> = Object.fromEntries(
    (
      [
        ['issuer (.1, .8)', 1, 'https://accounts.google.com'],
        ['trigger (.2, .20)', 2, 'pull_request'],
        ['commit (.3, .13)', 3, 'f'.repeat(40)],
        ['repository (.5, .12)', 5, 'evil/widget'],
        ['ref (.6, .14)', 6, 'refs/heads/evil'],
        [
          'workflow of another repository (.18)',
          18,
          'https://github.com/evil/x/.github/workflows/release.yml@refs/heads/main',
        ],
        [
          'workflow of a longer name (.18)',
          18,
          'https://github.com/acme/widget-evil/.github/workflows/release.yml@refs/heads/main',
        ],
        ['workflow from another commit (.19)', 19, 'f'.repeat(40)],
        ['no issuer', 8, undefined],
      ] as const
    ).map(([title, oid, value]) => {
      const request = withExtension(oid, value)(githubCertificate(publisher))
      return [title, title === 'no issuer' ? withExtension(1, undefined)(request) : request]
    }),
  )
  // the predicate states nothing that could contradict it as well
  const { statement } = changed('predicate.buildDefinition', { buildType: 'x' }).tamper
  for (const [title, certificate] of Object.entries(cases)) {
    const fact = await judge({ tamper: { certificate: () => certificate, statement } })
    t.equal(outcome(fact), 'INVALID_ATTESTATION', title)
  }
  // the same certificates with nothing changed
  t.equal((await judge({ tamper: { certificate: request => request } })).state, 'verified')
})

t.test('extensions that are not what Fulcio writes', async t => {
  const raw = (oid: number, value: string) => (request: CertificateRequest) => ({
    ...request,
    extensions: request.extensions.map(e => (e.oid === oid ? { oid, value, raw: true } : e)),
  })
  const cases: Readonly<Record<string, (request: CertificateRequest) => CertificateRequest>> = {
    'a bare string where DER belongs': raw(12, 'https://github.com/acme/widget'),
    'a string of another kind': raw(24, '\u0013\u0001x'),
    'bytes after the string': raw(24, '\u000c\u0001xmore'),
    'a length that is not the shortest': raw(24, '\u000c\u0002x'),
    'a line break': withExtension(24, 'repo:acme/widget\nrepo:evil/widget'),
    'an empty string': withExtension(24, ''),
    'the same extension twice': request => ({
      ...request,
      extensions: [...request.extensions, { oid: 12, value: 'https://github.com/acme/widget' }],
    }),
  }
  for (const [title, certificate] of Object.entries(cases))
    t.equal(outcome(await judge({ tamper: { certificate } })), 'INVALID_ATTESTATION', title)
})

t.test('people and machines that are no workflow', async t => {
  const { statement } = changed('predicate.buildDefinition', { buildType: 'x' }).tamper
  const by = async (san: CertificateRequest['san']) => {
    const { extensions } = emailCertificate('')
    const certificate = () => ({ san, extensions })
    const fact = await judge({ tamper: { certificate, statement } })
    return fact.state === 'verified' ? fact.identity : outcome(fact)
  }
  const issuer = 'https://accounts.google.com'
  const email = { type: 'email', value: 'security@acme.example' } as const
  t.strictSame(await by(email), { issuer, subject: email.value, subjectType: 'email' })
  const other = { type: 'other', value: 'release!acme.example' } as const
  t.strictSame(await by(other), { issuer, subject: other.value, subjectType: 'other' })
  const uri = { type: 'uri', value: 'https://ci.acme.example/release' } as const
  t.strictSame(await by(uri), { issuer, subject: uri.value, subjectType: 'uri' })
  t.equal(
    await by({ type: 'email', value: 'a@acme.example\nb@acme.example' }),
    'INVALID_ATTESTATION',
  )
})
