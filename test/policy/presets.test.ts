/** Presets on certificates of five issuers: each admits its own and refuses its neighbours'. */
import t from 'tap'
import { expandIdentity } from '../../lib/policy/compile-identity.ts'
import { judge } from '../../lib/policy/evaluate.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import { pinnedFields, type PinnedFields } from '../../lib/policy/pin.ts'
import type { Policy } from '../../lib/policy/policy.ts'
import { shortened, shortenedTogether } from '../../lib/policy/shorten.ts'
import type { Evidence } from '../../lib/types.ts'
import { artifact, examineOnly, verificationFor } from '../evidence/lab.ts'
import {
  circleciCertificate,
  emailCertificate,
  githubCertificate,
  gitlabCertificate,
  localSigstore,
  slsaV1,
  subjectCertificate,
  type CertificateRequest,
  type CircleciPublisher,
  type GithubPublisher,
  type GitlabPublisher,
} from '../support/local-sigstore.ts'
import { statementV1, subjectOf } from '../support/sigstore/statements.ts'
import { complaints, input, now, signed } from './material.ts'

const sigstore = await localSigstore()
t.teardown(() => sigstore.close())
const verification = verificationFor(sigstore)

/** A statement of whichever builder: what counts is in the certificate. */
const statement = {
  _type: statementV1,
  subject: [subjectOf(artifact)],
  predicateType: slsaV1,
  predicate: {
    buildDefinition: { buildType: 'https://acme.example/build/v1' },
    runDetails: { builder: { id: 'https://acme.example/builder' } },
  },
}

const evidenceOf = async (certificate: CertificateRequest): Promise<Evidence> =>
  examineOnly(verification, await sigstore.attest({ statement, signer: { certificate } }))

const policyFor = (identity: string) =>
  parsePolicy(
    `version: 1\nidentities:\n  x: { ${identity} }\ndefaults: { require: { provenance: x } }\n`,
    { file: 'p.yaml' },
  )

/** `allow`, or the fields that are amiss. */
const verdictOf = (policy: Policy, { provenance }: Evidence): string => {
  if (provenance.state !== 'verified') return JSON.stringify(provenance)
  const { name, version } = artifact
  const facts = input({ name, version, provenance, registrySignature: signed })
  const { decision, reasons } = judge([policy], facts, now)
  return decision === 'allow'
    ? 'allow'
    : reasons.map(({ code, field }) => (field === undefined ? code : field)).join(' ')
}

const tag = 'refs/tags/v1.2.3'
const hub = (publisher: Partial<GithubPublisher> = {}) =>
  githubCertificate({ repository: 'acme/widget', ref: tag, ...publisher })
const lab = (publisher: Partial<GitlabPublisher> = {}) =>
  gitlabCertificate({ project: 'acme/tools/widget', ref: tag, ...publisher })
const circle = (publisher: CircleciPublisher = {}) =>
  circleciCertificate({ ref: tag, ...publisher })
const slug = 'https://token.actions.githubusercontent.com/acme'
const ghes = 'https://github.acme.example'
const cluster =
  'https://container.googleapis.com/v1/projects/acme/locations/europe-west1/clusters/ci'
const account = (namespace = 'npm', name = 'publisher', issuer = cluster) =>
  subjectCertificate(
    'uri',
    `https://kubernetes.io/namespaces/${namespace}/serviceaccounts/${name}`,
    issuer,
  )
const other = '99999999-9999-4999-8999-999999999999'

/** Everything that is signed here, by what it is. */
const certificates: Readonly<Record<string, CertificateRequest>> = {
  github: hub(),
  'github, release': hub({ trigger: 'release' }),
  'github, by hand': hub({ trigger: 'workflow_dispatch' }),
  'github, main': hub({ ref: 'refs/heads/main' }),
  'github, tag of another version': hub({ ref: 'refs/tags/v1.2.30' }),
  'github, branch like the tag': hub({ ref: 'refs/heads/v1.2.3' }),
  'github, other repository': hub({ repository: 'acme/widget-x', repositoryId: '7' }),
  'github, other owner': hub({ repository: 'evil/widget', repositoryId: '7', ownerId: '8' }),
  'github, registered anew': hub({ repositoryId: '7' }),
  'github, other workflow': hub({ workflow: '.github/workflows/test.yml' }),
  'github, workflow elsewhere': hub({ workflow: 'release.yml' }),
  'github, pull_request_target': hub({ trigger: 'pull_request_target' }),
  'github, pull_request': hub({ trigger: 'pull_request' }),
  'github, workflow_run': hub({ trigger: 'workflow_run' }),
  'github, self-hosted': hub({ runner: 'self-hosted' }),
  'github, environment': hub({ environment: 'npm' }),
  'github enterprise': hub({ issuer: slug }),
  'github server': hub({ issuer: `${ghes}/_services/token`, server: ghes }),
  'github, named like gitlab': hub({ repository: 'acme/tools' }),
  gitlab: lab(),
  'gitlab, by hand': lab({ trigger: 'web' }),
  'gitlab, main': lab({ ref: 'refs/heads/main' }),
  'gitlab, merge request': lab({ trigger: 'merge_request_event' }),
  'gitlab, other project': lab({ project: 'acme/tools/other', projectId: '7' }),
  'gitlab, subgroup': lab({ project: 'acme/widget', projectId: '7' }),
  'gitlab, registered anew': lab({ projectId: '7' }),
  'gitlab, other file': lab({ config: 'ci/test.yml' }),
  'gitlab, self-hosted': lab({ runner: 'self-hosted' }),
  'gitlab server': lab({ server: 'https://gitlab.acme.example' }),
  'gitlab, named like github': lab({ project: 'acme/widget' }),
  circleci: circle(),
  'circleci, ssh': circle({ sshRerun: true }),
  'circleci, fork': circle({ origin: 'github.com/evil/widget' }),
  'circleci, main': circle({ ref: 'refs/heads/main' }),
  'circleci, other project': circle({ project: other }),
  'circleci, other pipeline': circle({ pipeline: other }),
  'circleci, other organization': circle({ organization: other }),
  'circleci, issuer of all': circle({ issuer: 'https://oidc.circleci.com' }),
  google: emailCertificate('release@acme.iam.gserviceaccount.com'),
  'google, other account': emailCertificate('xrelease@acme.iam.gserviceaccount.com'),
  'google, other project': emailCertificate('release@evil.iam.gserviceaccount.com'),
  'e-mail, other issuer': emailCertificate(
    'release@acme.iam.gserviceaccount.com',
    'https://github.com/login/oauth',
  ),
  kubernetes: account(),
  'kubernetes, other namespace': account('default'),
  'kubernetes, other account': account('npm', 'default'),
  'kubernetes, other cluster': account('npm', 'publisher', `${cluster}-test`),
  username: subjectCertificate('other', 'ana!acme.example', 'https://issuer.acme.example'),
}

const evidence = new Map<string, Evidence>()
for (const [what, certificate] of Object.entries(certificates))
  evidence.set(what, await evidenceOf(certificate))

/** Each preset, and everything it admits; all else is refused. */
const table: readonly (readonly [identity: string, admits: readonly string[]])[] = [
  [
    'github: acme/widget#1000001, workflow: release.yml',
    ['github', 'github, release', 'github, by hand', 'github, environment'],
  ],
  [
    'github: acme/widget, workflow: release.yml',
    [
      'github',
      'github, release',
      'github, by hand',
      'github, environment',
      'github, registered anew',
    ],
  ],
  ['github: acme/widget#1000001, workflow: release.yml, branch: main', ['github, main']],
  [
    'github: acme/widget#1000001, workflow: release.yml, branch: [next, main], tag: "{version}"',
    ['github, main'],
  ],
  ['github: acme/widget#1000001, workflow: release.yml, trigger: release', ['github, release']],
  [
    'github: acme/widget#1000001, workflow: release.yml, trigger: [release, workflow_dispatch]',
    ['github, release', 'github, by hand'],
  ],
  [
    'github: acme/widget#1000001, workflow: release.yml, environment: npm',
    ['github, environment'],
  ],
  [
    'github: acme/widget#1000001, workflow: release.yml, runner: self-hosted',
    ['github, self-hosted'],
  ],
  [
    'github: acme/widget#1000001, workflow: release.yml, enterprise: acme',
    ['github enterprise'],
  ],
  [`github: acme/widget#1000001, workflow: release.yml, server: '${ghes}'`, ['github server']],
  ['gitlab: acme/tools/widget#4000004', ['gitlab', 'gitlab, by hand']],
  ['gitlab: acme/tools/widget#4000004, branch: main', ['gitlab, main']],
  ['gitlab: acme/tools/widget#4000004, workflow: ci/test.yml', ['gitlab, other file']],
  [
    "gitlab: acme/tools/widget#4000004, server: 'https://gitlab.acme.example'",
    ['gitlab server'],
  ],
  ['gitlab: acme/widget#4000004', ['gitlab, named like github']],
  [
    'circleci: { organization: 11111111-1111-4111-8111-111111111111, project: 22222222-2222-4222-8222-222222222222, pipeline: 33333333-3333-4333-8333-333333333333 }, repository: https://github.com/acme/widget',
    ['circleci'],
  ],
  // field by field, nobody says that a machine somebody was logged in on is fine
  [
    "issuer: 'https://oidc.circleci.com/org/11111111-1111-4111-8111-111111111111', repository: https://github.com/acme/widget, ref: 'refs/tags/v{version}'",
    ['circleci', 'circleci, other project', 'circleci, other pipeline'],
  ],
  ['google: release@acme.iam.gserviceaccount.com', ['google']],
  [`kubernetes: npm/publisher, issuer: '${cluster}'`, ['kubernetes']],
  ["issuer: 'https://issuer.acme.example', subject: ana!acme.example", ['username']],
]

t.test('every preset against every certificate', async t => {
  for (const [identity, admits] of table) {
    const policy = policyFor(identity)
    for (const [what, facts] of evidence) {
      const verdict = verdictOf(policy, facts)
      if (admits.includes(what)) t.equal(verdict, 'allow', `${identity}: ${what}`)
      else t.notOk(/allow|\{|NO_PROVENANCE/.test(verdict), `${identity}: ${what}: ${verdict}`)
    }
  }
  const admitted = new Set(table.flatMap(([, admits]) => admits))
  t.ok([...admitted].every(what => evidence.has(what)))
})

t.test('what is amiss is named', async t => {
  const github = 'github: acme/widget#1000001, workflow: release.yml'
  const gitlab = 'gitlab: acme/tools/widget#4000004'
  const circleci = table.find(([one]) => one.startsWith('circleci:'))?.[0] ?? ''
  const cases: readonly (readonly [string, string, string])[] = [
    [github, 'github, pull_request_target', 'trigger'],
    [github, 'github, self-hosted', 'runner'],
    [github, 'github, main', 'ref'],
    [github, 'github, tag of another version', 'ref'],
    [github, 'github, registered anew', 'repositoryId'],
    [github, 'github, other workflow', 'workflow'],
    [github, 'github enterprise', 'issuer'],
    [github, 'github server', 'issuer repository'],
    [github, 'gitlab, named like github', 'issuer repository repositoryId workflow runner'],
    [gitlab, 'gitlab, merge request', 'trigger'],
    [gitlab, 'gitlab server', 'issuer repository'],
    [circleci, 'circleci, ssh', 'runner'],
    [circleci, 'circleci, fork', 'repository'],
    [circleci, 'circleci, issuer of all', 'issuer'],
  ]
  for (const [identity, what, fields] of cases)
    t.equal(verdictOf(policyFor(identity), evidence.get(what) as Evidence), fields, what)
})

t.test('certificates of each issuer as they are read', async t => {
  const identityOf = (what: string) => {
    const { provenance } = evidence.get(what) as Evidence
    return provenance.state === 'verified' ? provenance.identity : provenance
  }
  t.match(identityOf('gitlab'), {
    subject: `https://gitlab.com/acme/tools/widget//.gitlab-ci.yml@${tag}`,
    workflow: '.gitlab-ci.yml',
    owner: 'https://gitlab.com/acme/tools',
    tokenSubject: 'project_path:acme/tools/widget:ref_type:tag:ref:v1.2.3',
  })
  t.match(identityOf('gitlab, other file'), { workflow: 'ci/test.yml' })
  t.match(identityOf('circleci'), {
    issuer: 'https://oidc.circleci.com/org/11111111-1111-4111-8111-111111111111',
    repository: 'https://github.com/acme/widget',
    runner: '""',
    workflow: undefined,
    workflowUri:
      'https://circleci.com/api/v2/pipeline/44444444-4444-4444-8444-444444444444/config',
    trigger: undefined,
  })
  t.match(identityOf('circleci, ssh'), { runner: 'ssh-rerun' })
  t.match(identityOf('google'), { subjectType: 'email', repository: undefined })
  t.match(identityOf('kubernetes'), { subjectType: 'uri' })
  t.match(identityOf('username'), { subjectType: 'other', subject: 'ana!acme.example' })
  t.match(identityOf('github server'), { repository: `${ghes}/acme/widget` })

  // an address of an API is no file; a file of another repository still is one
  const elsewhere = (value: string) => ({
    ...circle(),
    extensions: circle().extensions.map(e => (e.oid === 18 ? { ...e, value } : e)),
  })
  for (const value of [
    'https://github.com/evil/widget/.circleci/config.yml',
    'https://github.com/acme/widget-x/config@refs/tags/v1.2.3',
    'https://circleci.com/x@refs/tags/v1.2.3',
  ])
    t.match((await evidenceOf(elsewhere(value))).provenance, {
      state: 'invalid',
      code: 'INVALID_ATTESTATION',
    })
})

t.test('what a preset does not let anybody write', async t => {
  const lines = (identity: string) =>
    complaints(`version: 1\nidentities:\n  x: { ${identity} }\n`).join('\n')
  const github = 'github: acme/widget, workflow: release.yml'
  const ids =
    'organization: 11111111-1111-4111-8111-111111111111, project: 22222222-2222-4222-8222-222222222222, pipeline: 33333333-3333-4333-8333-333333333333'
  const cases: readonly (readonly [string, RegExp])[] = [
    ['github: acme/widget', /any workflow of the repository could sign/],
    ['github: acme/*, workflow: release.yml', /wanted owner\/name/],
    ['github: widget, workflow: release.yml', /wanted owner\/name/],
    ['github: acme/widget#x, workflow: release.yml', /wanted owner\/name/],
    ['github: https://github.com/acme/widget, workflow: release.yml', /wanted owner\/name/],
    ["github: acme/widget, workflow: '*.yml'", /name the one that publishes/],
    [`${github}, trigger: pull_request_target`, /acts on what anybody may propose/],
    [`${github}, trigger: [push, workflow_run]`, /acts on what anybody may propose/],
    [`${github}, trigger: issue_comment`, /acts on what anybody may propose/],
    [`${github}, tag: '*'`, /takes any tag/],
    [`${github}, tag: 'v*'`, /takes any tag/],
    [`${github}, branch: 'release/*'`, /name the branch/],
    [`${github}, branch: refs/heads/main`, /without refs/],
    [`${github}, tag: 'v{version}-{version}'`, /once/],
    [`${github}, ref: refs/heads/main`, /write tag or branch/],
    [`${github}, issuer: 'https://gitlab.com'`, /issuer has no meaning beside github/],
    [`${github}, repository: https://github.com/acme/x`, /no meaning beside github/],
    [`${github}, gitlab: acme/widget`, /gitlab has no meaning beside github/],
    [`${github}, enterprise: a/b`, /wanted a slug/],
    [`${github}, enterprise: acme, server: 'https://a.example'`, /issuer of its own/],
    [`${github}, server: 'https://a.example/x'`, /and no path/],
    [`${github}, server: 'http://a.example'`, /and no path/],
    ['gitlab: acme', /wanted group\/name/],
    ['gitlab: acme/widget, trigger: merge_request_event', /acts on what anybody may propose/],
    ['gitlab: acme/widget, enterprise: acme', /no meaning beside gitlab/],
    [`circleci: { ${ids} }`, /builds of forks bear the same ids/],
    [`circleci: { ${ids} }, repository: 'https://github.com/acme/*'`, /builds of forks/],
    [
      `circleci: { ${ids.replace('2222-4', '2222-x')} }, repository: https://a.example/b/c`,
      /UUID/,
    ],
    [`circleci: { ${ids} }, repository: https://github.com/a/b, trigger: push`, /no meaning/],
    ['google: acme.example', /wanted an e-mail address/],
    ["google: '*@acme.example'", /wanted an e-mail address/],
    ['google: a@acme.example, trigger: push', /no meaning beside google/],
    ['kubernetes: npm/publisher', /every cluster has such an account/],
    ["kubernetes: '*/publisher', issuer: https://a.example", /wanted namespace/],
    ['issuer: https://a.example, subject: x, tag: v1', /stands beside a preset/],
    [
      "issuer: 'https://gitlab.com', repository: https://gitlab.com/a/b, trigger: [push, 'p*']",
      /compared exactly/,
    ],
  ]
  for (const [identity, wanted] of cases) t.match(lines(identity), wanted, identity)
})

t.test('the shortest way to write a publisher that was found', async t => {
  const short = (what: string) => {
    const { provenance } = evidence.get(what) as Evidence
    if (provenance.state !== 'verified') throw new Error(what)
    const fields = pinnedFields(provenance.identity, artifact.version)
    const written = shortened(fields)
    t.same(expandIdentity(written).fields, fields, `${what} means the same`)
    return written
  }
  const ownerId = '2000002'
  const release = { workflow: 'release.yml', trigger: 'push', ownerId }
  t.same(short('github'), { github: 'acme/widget#1000001', ...release })
  t.same(short('github, main'), { github: 'acme/widget#1000001', ...release, branch: 'main' })
  t.match(short('github, workflow elsewhere'), {
    repository: 'https://github.com/acme/widget',
    workflow: 'release.yml',
  })
  t.match(short('github, self-hosted'), { github: String, runner: 'self-hosted' })
  t.match(short('github, environment'), { github: String, environment: 'npm' })
  t.match(short('github, pull_request_target'), { trigger: 'pull_request_target', ref: String })
  t.match(short('github enterprise'), { github: String, enterprise: 'acme' })
  t.match(short('github server'), { github: String, server: ghes })
  t.same(short('gitlab'), {
    gitlab: 'acme/tools/widget#4000004',
    trigger: 'push',
    ownerId: '5000005',
  })
  t.match(short('gitlab, other file'), { gitlab: String, workflow: 'ci/test.yml' })
  t.match(short('gitlab server'), { gitlab: String, server: 'https://gitlab.acme.example' })
  t.match(short('circleci'), {
    circleci: { project: '22222222-2222-4222-8222-222222222222' },
    repository: 'https://github.com/acme/widget',
  })
  t.match(short('circleci, ssh'), { runner: 'ssh-rerun', subject: String })
  t.match(short('circleci, issuer of all'), { issuer: 'https://oidc.circleci.com' })
  t.same(short('google'), { google: 'release@acme.iam.gserviceaccount.com' })
  t.same(short('kubernetes'), { kubernetes: 'npm/publisher', issuer: cluster })
  t.same(short('username'), {
    issuer: 'https://issuer.acme.example',
    subject: 'ana!acme.example',
  })
})

t.test('several ways of one repository in one preset, and no way more', async t => {
  const fields = (over: PinnedFields = {}): PinnedFields => ({
    issuer: 'https://token.actions.githubusercontent.com',
    repository: 'https://github.com/acme/lib',
    repositoryId: '1',
    workflow: '.github/workflows/a.yml',
    ref: 'refs/heads/main',
    trigger: 'push',
    runner: 'github-hosted',
    ...over,
  })
  const short = { github: 'acme/lib#1', workflow: 'a.yml' }
  t.same(shortenedTogether([fields(), fields({ ref: 'refs/heads/next' })]), {
    ...short,
    branch: ['main', 'next'],
    trigger: 'push',
  })
  t.same(
    shortenedTogether([
      fields(),
      fields({ ref: 'refs/tags/v{version}' }),
      fields({ ref: 'refs/tags/a@{version}' }),
    ]),
    { ...short, branch: 'main', tag: ['v{version}', 'a@{version}'], trigger: 'push' },
  )
  t.same(shortenedTogether([fields(), fields({ trigger: 'release' })]), {
    ...short,
    branch: 'main',
    trigger: ['push', 'release'],
  })
  const ref = 'refs/tags/v{version}'
  for (const apart of [
    [fields(), fields({ ref, trigger: 'release' })],
    [fields(), fields({ ref }), fields({ trigger: 'release' })],
    [fields(), fields({ workflow: '.github/workflows/b.yml' })],
    [fields(), fields({ repositoryId: '2' })],
    [fields(), fields({ trigger: 'pull_request_target' })],
    [fields(), fields({ ref: 'refs/pull/1/merge' })],
    [fields({ runner: 'x' }), fields({ runner: 'y' })],
  ])
    t.equal(shortenedTogether(apart), undefined, JSON.stringify(apart))
})
