/** Real packages, valid and forged, through the whole proxy. */
import t, { type Test } from 'tap'
import {
  corpusFile,
  corpusInvalid,
  corpusPackages,
  type CorpusPackage,
} from '../support/corpus.ts'
import { startProxy, type ProxyOptions } from '../support/proxy.ts'
import { noReplica, startReplica } from '../support/replica.ts'

type Reason = { code: string; field?: string; wanted?: string; found?: string }
type Body = { code: string; reasons: Reason[] }

const optionsFor = (upstream: string, policies: readonly string[] = []): ProxyOptions => ({
  upstream,
  trustedRoot: corpusFile('trusted_root.json'),
  registryKeys: corpusFile('keys.json'),
  policies,
})

const tarballPath = (name: string, version: string) =>
  `${name}/-/${name.split('/').at(-1)}-${version}.tgz`

t.test('the replica of real packages', { skip: noReplica }, async t => {
  const replica = await startReplica()
  t.teardown(replica.close)

  const open = async (t: Test, path = '', policies: readonly string[] = []) => {
    const proxy = await startProxy(optionsFor(`${replica.url}${path}`, policies))
    t.teardown(() => proxy.close())
    return proxy.url
  }

  t.test('under the baseline every valid version is served, byte for byte', async t => {
    const url = await open(t)
    for (const { facts, tarball } of corpusPackages()) {
      const id = `${facts.name}@${facts.version}`
      const response = await fetch(url + tarballPath(facts.name, facts.version))
      const bytes = Buffer.from(await response.arrayBuffer())
      if (tarball) t.ok(bytes.equals(tarball), `${id} ${response.status}`)
      else t.equal(response.status, 404, `${id} has no tarball here, and is not refused`)
      const packument = (await (await fetch(url + facts.name.replace('/', '%2f'))).json()) as {
        versions: Record<string, unknown>
      }
      t.ok(packument.versions[facts.version], `${id} is shown`)
    }
  })

  const expectedCode: Record<string, readonly string[]> = {
    crypto: ['INVALID_ATTESTATION'],
    statement: ['WRONG_SUBJECT'],
    wrapper: ['INVALID_ATTESTATION'],
    identity: ['INVALID_ATTESTATION'],
    digest: ['INTEGRITY_MISMATCH'],
  }

  for (const { title, facts } of corpusInvalid()) {
    t.test(`invalid: ${title}`, async t => {
      const [name = ''] = title.split('--')
      const found = replica.cases.find(
        c =>
          c.startsWith(`${name}--`) &&
          c.includes(facts.version) &&
          c === `${name}--${title.split('--').slice(1).join('--').replace(/[@+]/g, '_')}`,
      )
      const url = await open(t, `~${found ?? ''}/`)
      const response = await fetch(url + tarballPath(facts.name, facts.version))
      t.equal(response.status, 403)
      const body = (await response.json()) as Body
      t.ok(
        body.reasons.some(({ code }) =>
          expectedCode[facts.expected.layer ?? '']?.includes(code),
        ),
        `${facts.expected.layer}: ${body.reasons.map(({ code }) => code).join(' ')}`,
      )
      const packument = await fetch(url + facts.name.replace('/', '%2f'))
      const document = (await packument.json()) as { versions?: Record<string, unknown> }
      t.notOk(document.versions?.[facts.version], 'hidden once judged')
    })
  }

  t.test('policies that name the publisher', async t => {
    const withProvenance = corpusPackages().filter(
      ({ facts, tarball }) =>
        tarball && facts.attestations?.some(({ provenance }) => provenance !== undefined),
    )
    const identityOf = ({ facts }: CorpusPackage) => {
      const identity = facts.attestations?.find(a => a.provenance !== undefined)?.identity ?? {}
      const text = identity as Record<string, string>
      const workflow = /^[^/]+\/\/[^/]+\/[^/]+\/[^/]+\/(.+)@/.exec(
        text['buildConfigURI'] ?? text['san'] ?? '',
      )?.[1]
      return {
        issuer: text['issuer'],
        repository:
          text['sourceRepositoryURI'] ??
          `https://github.com/${text['githubWorkflowRepository']}`,
        ref: text['sourceRepositoryRef'] ?? text['githubWorkflowRef'],
        workflow,
        ...(text['sourceRepositoryIdentifier'] && {
          repositoryId: text['sourceRepositoryIdentifier'],
        }),
      } as Record<string, string>
    }
    const policyFor = (
      packages: readonly CorpusPackage[],
      change: (field: string, value: string) => string,
    ) =>
      [
        'version: 1',
        'rules:',
        ...packages.flatMap(entry => [
          `  - name: "${entry.title}"`,
          `    packages: ["${entry.facts.name}@${entry.facts.version}"]`,
          '    require:',
          '      provenance:',
          ...Object.entries(identityOf(entry)).map(
            ([field, value]) => `        ${field}: ${JSON.stringify(change(field, value))}`,
          ),
        ]),
      ].join('\n')
    /** One character of the middle changed for another of its kind. */
    const altered = (value: string) => {
      const at = value.length - 2
      const sign = value[at] ?? ''
      const other = /\d/.test(sign) ? String((Number(sign) + 1) % 10) : sign === 'a' ? 'b' : 'a'
      return value.slice(0, at) + other + value.slice(at + 1)
    }

    const right = await open(t, '', [policyFor(withProvenance, (_field, value) => value)])
    for (const { facts, tarball } of withProvenance) {
      const response = await fetch(right + tarballPath(facts.name, facts.version))
      const bytes = Buffer.from(await response.arrayBuffer())
      t.ok(tarball && bytes.equals(tarball), `${facts.name}@${facts.version}`)
    }
    for (const changed of ['issuer', 'repository', 'ref', 'workflow', 'repositoryId']) {
      const wrong = await open(t, '', [
        policyFor(withProvenance, (field, value) =>
          field === changed ? altered(value) : value,
        ),
      ])
      for (const entry of withProvenance) {
        const { name, version } = entry.facts
        const wanted = identityOf(entry)[changed]
        if (wanted === undefined) continue
        const response = await fetch(wrong + tarballPath(name, version))
        t.equal(response.status, 403, `${name}@${version} with another ${changed}`)
        const { reasons } = (await response.json()) as Body
        t.match(
          reasons.find(({ code }) => code === 'IDENTITY_MISMATCH'),
          { field: changed, wanted: altered(wanted), found: wanted },
          'shows wanted and found',
        )
      }
    }
  })

  t.test('faults', async t => {
    for (const fault of ['!down', '!500', '!no-att']) {
      const url = await open(t, `${fault}/`)
      const response = await fetch(url + tarballPath('sigstore', '5.0.0'))
      t.equal(response.status, 503, fault)
      t.match(await response.json(), { code: /EUNCHECKED|EUPSTREAM/ })
    }
    const cut = await open(t, '!cut/')
    const response = await fetch(cut + tarballPath('sigstore', '5.0.0'))
    t.equal(response.status, 503)
    await response.arrayBuffer()
    const slow = await open(t, '!slow:200/')
    t.equal((await fetch(slow + tarballPath('semver', '7.6.2'))).status, 200)
    const strip = await open(t, '!strip/')
    t.equal(
      (await fetch(strip + tarballPath('sigstore', '5.0.0'))).status,
      200,
      'unsigned is no attack',
    )
    const why = await fetch(`${strip}-/attestry/why/sigstore@5.0.0`)
    t.match(((await why.json()) as { notes: string[] }).notes[0], /no registry signature/)
  })
})
