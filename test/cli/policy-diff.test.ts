import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import t from 'tap'
import { changeOf, standingOf, type Standing } from '../../lib/cli/policy/changes.ts'
import { comparePolicies } from '../../lib/cli/policy/compare.ts'
import { countsOf, diffText, exitCode, type Diff } from '../../lib/cli/policy/diff-report.ts'
import { recordedPackages } from '../../lib/cli/policy/recorded.ts'
import { judge } from '../../lib/policy/evaluate.ts'
import type { StoredAuditEntry } from '../../lib/store/store.ts'
import { absent, input, now, policy } from '../policy/material.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { folderWith, jsonOf } from './policy-io.ts'

const old = 'version: 1\ndefaults: { continuity: off }\n'

t.test('what counts as a change', async t => {
  const id = { name: 'lib', version: '1.2.3' }
  const said = (text: string, over = {}) => standingOf(judge([policy(text)], input(over), now))
  const allow = said('')
  const refuse = said('defaults: { deny: { reason: no } }')
  const young = said('defaults: { minimumAge: 3d }', {
    claims: { publishedAt: now.toISOString() },
  })
  const unavailable = said('', { registrySignature: { state: 'unavailable', detail: 'x' } })
  const observed = said('mode: observe\ndefaults: { require: { provenance: any } }', {
    provenance: absent,
  })
  const kind = (a: Standing, b: Standing) => changeOf(id, a, b)?.kind
  t.equal(kind(allow, refuse), 'refused')
  t.equal(kind(unavailable, refuse), 'refused')
  t.equal(kind(refuse, allow), 'admitted')
  t.equal(kind(unavailable, allow), 'admitted')
  t.equal(kind(allow, unavailable), 'unchecked')
  t.equal(kind(refuse, young), 'reasons')
  t.equal(kind(allow, observed), 'reasons')
  t.equal(kind(allow, { ...allow, rule: 'other#rule' }), undefined)
  t.equal(kind(refuse, refuse), undefined)
  t.match(refuse, { decision: 'refuse', rule: 'test.policy.yaml#defaults' })
})

t.test('exit codes', async t => {
  const base = { changes: [], unknown: [], judged: 3 }
  const standing: Standing = { decision: 'allow', rule: 'r', reasons: [] }
  const change = (kind: 'refused' | 'unchecked' | 'admitted') => ({
    package: { name: 'a', version: '1.0.0' },
    kind,
    old: standing,
    new: standing,
  })
  const unknown = {
    package: { name: 'b', version: '1.0.0' },
    under: 'old',
    code: 'ENOTFOUND',
    message: '',
  } as const
  t.equal(exitCode(base), 0)
  t.equal(exitCode({ ...base, changes: [change('admitted')] }), 0)
  t.equal(exitCode({ ...base, changes: [change('unchecked')] }), 2)
  t.equal(exitCode({ ...base, unknown: [unknown] }), 2)
  t.equal(exitCode({ ...base, unknown: [unknown], changes: [change('refused')] }), 1)
  t.match(countsOf({ ...base, unknown: [unknown], changes: [change('refused')] }), {
    refused: 1,
    unknown: 1,
    same: 1,
  })
})

t.test('a name that the new policy reserves is asked for where it would be', async t => {
  const reserving = policy('rules: [{ packages: [lib], upstream: acme }]')
  const asked: string[] = []
  let upstream = 'npm'
  const found = await comparePolicies({
    gate: {
      adopt: ([first]) => {
        upstream = first === reserving ? 'acme' : 'npm'
      },
      assess: async id => {
        asked.push(upstream)
        const judged = input({ ...id, upstream })
        return { input: judged, verdict: judge([], judged, now), notes: [] }
      },
    },
    old: [policy('')],
    next: [reserving],
    subjects: [
      { name: 'lib', version: '1.2.3' },
      { name: 'other', version: '1.2.3' },
    ],
    now,
  })
  t.same(found, { changes: [], unknown: [], judged: 2 })
  t.same(asked, ['npm', 'npm', 'acme'])
})

t.test('the record: each once, since a time', async t => {
  const entry = (at: string, version: string) =>
    ({ at, package: { name: 'lib', version } }) as StoredAuditEntry
  const audit = {
    async *read() {
      yield entry('2026-01-01T00:00:00.000Z', '1.0.0')
      yield entry('2026-03-01T00:00:00.000Z', '1.1.0')
      yield entry('2026-03-02T00:00:00.000Z', '1.1.0')
      yield entry('2026-03-02T00:00:00.000Z', '1.2.0')
      const gathered = { last: '2026-02-01T00:00:05.000Z', times: 9 }
      yield { ...entry('2026-01-31T23:59:59.000Z', '1.3.0'), ...gathered }
    },
  }
  t.same(await recordedPackages(audit, new Date('2026-02-01')), [
    { name: 'lib', version: '1.1.0' },
    { name: 'lib', version: '1.2.0' },
    { name: 'lib', version: '1.3.0' },
  ])
})

t.test('the report fits a terminal, and nothing in it disturbs one', async t => {
  const name = `@a/${'long-'.repeat(20)}\u001b[2J`
  const standing = (decision: 'allow' | 'refuse'): Standing => ({
    decision,
    rule: 'some-organization.policy.yaml#a rule with a long name',
    reasons: decision === 'allow' ? [] : [{ code: 'DENIED', message: 'because '.repeat(30) }],
  })
  const side = { policies: ['p'], digest: 'd' }
  const found: Diff = {
    old: side,
    new: side,
    source: { kind: 'lockfile', file: 'package-lock.json' },
    judged: 40,
    unknown: [],
    changes: ['short', name].flatMap((name, i) =>
      Array.from({ length: 15 }, (_, n) => ({
        package: { name, version: `1.0.${n}` },
        kind: i === 0 ? ('refused' as const) : ('admitted' as const),
        old: standing(i === 0 ? 'allow' : 'refuse'),
        new: standing(i === 0 ? 'refuse' : 'allow'),
      })),
    ),
  }
  for (const columns of [80, 140]) {
    const text = diffText(found, { columns, paint: (_, text) => text, most: 10 })
    t.notMatch(text, '\u001b')
    t.match(text, /and 5 more/)
    for (const line of text.split('\n'))
      t.ok(line.length <= columns || line.includes('long-'), line)
    // all of its parts, none of them nothing
    const unknown = {
      package: { name: 'b', version: '1.0.0' },
      under: 'old',
      code: 'ENOTFOUND',
      message: 'x',
    } as const
    const full = diffText(
      {
        ...found,
        unknown: [unknown],
        changes: [
          ...found.changes,
          ...(['reasons', 'unchecked'] as const).map(kind => ({
            package: { name: 'r', version: '1.0.0' },
            kind,
            old: standing('allow'),
            new: standing('allow'),
          })),
        ],
      },
      { columns, paint: (_, text) => text, most: 1 },
    )
    for (const line of full.split('\n').slice(-4)) t.ok(line.length <= columns, line)
  }
})

t.test('over real packages', async t => {
  const sigstore = await localSigstore()
  const registry = await startRegistry({ sigstore })
  t.teardown(async () => {
    await registry.close()
    await sigstore.close()
  })
  await registry.publish({ name: 'proven', version: '1.0.0', provenance: true })
  await registry.publish({ name: 'proven', version: '1.1.0', provenance: true })
  await registry.publish({ name: 'dropped', version: '1.0.0', provenance: true })
  await registry.publish({ name: 'dropped', version: '1.0.1' })
  await registry.publish({ name: 'moved', version: '1.0.0', provenance: true })
  await registry.publish({
    name: 'moved',
    version: '1.0.1',
    provenance: { repository: 'mallory/moved', repositoryId: '66' },
  })
  await registry.publish({ name: 'unsigned', version: '1.0.0', signed: false })
  await registry.publish({ name: 'plain', version: '1.0.0' })
  const versions = [
    'proven@1.0.0',
    'proven@1.1.0',
    'dropped@1.0.0',
    'dropped@1.0.1',
    // who published 1.0.0 nobody has asked for
    'moved@1.0.1',
    'unsigned@1.0.0',
    'plain@1.0.0',
  ]
  const base: ProxyOptions = {
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    policies: [old],
  }
  const fetchAll = async (url: string) => {
    const statuses: Record<string, number> = {}
    for (const id of versions) {
      const [name = '', version = ''] = id.split('@')
      const response = await fetch(new URL(`/${name}/-/${name}-${version}.tgz`, url))
      await response.arrayBuffer()
      statuses[id] = response.status
    }
    return statuses
  }
  const proxy = await startProxy(base)
  t.teardown(() => proxy.close())
  const { run, write, folder } = await folderWith(t)
  const config = join(proxy.folder, 'attestry.yaml')
  const before = await fetchAll(proxy.url)
  t.same(new Set(Object.values(before)), new Set([200]), 'the old one lets all of them in')
  const compare = (...args: string[]) => run(['policy', 'diff', '-c', config, ...args])
  const oldFile = join(proxy.folder, 'policy-0.yaml')

  const drafts: Record<string, string> = {
    'continuity.yaml': 'version: 1\ndefaults: { continuity: package }\n',
    'signed.yaml': 'version: 1\ndefaults: { require: { registrySignature: required } }\n',
    'proven.yaml': 'version: 1\ndefaults: { require: { provenance: any } }\n',
    'deny.yaml': 'version: 1\nrules: [{ packages: ["plain@1.0.0"], deny: { reason: no } }]\n',
    'condition.yaml': `version: 1\ndefaults: { where: 'provenance == "verified"' }\n`,
    'same.yaml': `# the same\n${old}`,
    'observed.yaml': 'version: 1\nmode: observe\ndefaults: { require: { provenance: any } }\n',
  }
  for (const [name, text] of Object.entries(drafts)) await write(name, text)

  for (const name of Object.keys(drafts)) {
    t.test(`it agrees with serving under ${name}`, async t => {
      const ran = await compare('--json', oldFile, name)
      const said = jsonOf(ran)
      t.same(said['unknown'], [])
      t.equal(said['judged'], versions.length)
      const wanted = { ...before }
      for (const change of said['changes'] as {
        package: { name: string; version: string }
        new: { decision: string }
      }[])
        wanted[`${change.package.name}@${change.package.version}`] =
          change.new.decision === 'refuse' ? 403 : 200
      const other = await startProxy({ ...base, policies: [drafts[name] ?? ''] })
      t.teardown(() => other.close())
      const served = await fetchAll(other.url)
      t.same(served, wanted)
      t.equal(other.gate.policyDigest.length, 64)
      const refused = Object.values(served).filter(status => status === 403).length
      t.equal(ran.code, refused > 0 ? 1 : 0)
      t.equal(said['counts'].refused, refused)
    })
  }

  t.test('what changes, and why', async t => {
    const continuity = jsonOf(await compare('--json', oldFile, 'continuity.yaml'))
    t.same(
      (continuity['changes'] as { package: { name: string }; new: Standing }[]).map(change => [
        change.package.name,
        change.new.reasons.map(({ code }) => code),
      ]),
      [
        ['dropped', ['DOWNGRADED']],
        ['moved', ['PUBLISHER_CHANGED']],
      ],
      'publishers the old policy never asked for are looked up',
    )
    const back = await compare('--json', 'continuity.yaml', oldFile)
    t.equal(back.code, 0)
    t.match(jsonOf(back)['counts'], { admitted: 2, refused: 0, same: 5 })
    const seen = await compare('--json', oldFile, 'observed.yaml')
    t.match(seen.code, 0)
    t.match(jsonOf(seen)['counts'], { reasons: 4, refused: 0 })
    t.match((await compare('baseline', 'same.yaml')).stdout, /newly admitted/)
  })

  t.test('for people', async t => {
    const { code, stdout } = await run(
      ['policy', 'diff', '-c', config, oldFile, 'proven.yaml'],
      80,
    )
    t.equal(code, 1)
    const text = stripVTControlCharacters(stdout)
    t.match(text, /^Newly refused 4$/m)
    t.match(text, /plain@1\.0\.0 +allow -> refuse +by proven\.yaml#defaults/)
    t.match(text, /NO_PROVENANCE: /)
    t.match(text, /^7 package versions asked for since .*:\s4 newly refused, /m)
  })

  t.test('the configured layers stay, but for the one replaced', async t => {
    const layered = join(folder, 'layered.yaml')
    const other = 'version: 1\nrules: [{ packages: [proven], deny: { reason: other layer } }]\n'
    await write('other.yaml', other)
    const settings = await readFile(config, 'utf8')
    await writeFile(
      layered,
      settings.replace(
        /^policies: .*$/m,
        `policies: [${JSON.stringify(oldFile)}, ${JSON.stringify(join(folder, 'other.yaml'))}]`,
      ),
    )
    const diff = async (...args: string[]) =>
      jsonOf(await run(['policy', 'diff', '-c', layered, '--json', ...args]))
    const inPlace = await diff(oldFile, 'proven.yaml')
    t.same(inPlace['new'].policies, ['proven.yaml', 'other.yaml'])
    t.match(
      inPlace['counts'],
      { refused: 2, reasons: 1 },
      'the other layer had its word before',
    )
    t.same((await diff('same.yaml', 'proven.yaml'))['new'].policies, ['proven.yaml'])
  })

  t.test('a lockfile', async t => {
    const packages = Object.fromEntries([
      ['', { name: 'project' }],
      ['node_modules/plain', { version: '1.0.0' }],
      ['node_modules/gone', { version: '1.0.0' }],
    ])
    await write(
      'package-lock.json',
      JSON.stringify({ name: 'project', lockfileVersion: 3, packages }),
    )
    const ran = await compare('--lockfile', '.', '--json', oldFile, 'signed.yaml')
    t.equal(ran.code, 2, 'one could not be judged')
    t.match(jsonOf(ran), {
      source: { kind: 'lockfile' },
      judged: 2,
      unknown: [{ package: { name: 'gone' }, under: 'old', code: 'ENOTFOUND' }],
    })
    t.equal((await compare('--lockfile', '.', oldFile, 'deny.yaml')).code, 1)
  })

  t.test('what cannot be run is 2', async t => {
    for (const args of [[], ['a'], ['a', 'b', 'c'], ['--days', '0', 'a', 'b']])
      t.match(await compare(...args), { code: 2, stderr: /EUSAGE/ })
    t.match(await compare('--days', '3', '--lockfile', '.', 'a', 'b'), {
      code: 2,
      stderr: /EUSAGE/,
    })
    t.match(await compare(oldFile, 'none.yaml'), { code: 2, stderr: /EPOLICY/ })
  })
})
