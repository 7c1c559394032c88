import { lstat, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { judgeAll } from '../../lib/cli/audit/pool.ts'
import type { Subject } from '../../lib/cli/audit/result.ts'
import { AttestryError } from '../../lib/errors.ts'
import type { Assessment } from '../../lib/gate/assessments.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { writeSettings } from '../support/proxy.ts'
import { startRegistry, type Published } from '../support/registry.ts'
import { entryOf, packageLock, yarnLock } from './audit-material.ts'
import { runCli, type Said } from './console.ts'

const policy = `version: 1
rules:
  - name: not that one
    packages: [banned]
    deny: { reason: it steals tokens }
  - name: known
    packages: [old]
    allow: { reason: reviewed, by: ana@acme.example, until: 2099-01-01 }
`

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
const elsewhere = 'https://elsewhere.example/'
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})

const signed = await registry.publish({ name: 'signed', version: '1.0.0' })
const proven = await registry.publish({
  name: '@acme/proven',
  version: '1.0.0',
  provenance: true,
})
const bare = await registry.publish({ name: 'bare', version: '1.0.0', signed: false })
const old = await registry.publish({ name: 'old', version: '1.0.0' })
const banned = await registry.publish({ name: 'banned', version: '1.0.0' })
await registry.publish({ name: 'dropped', version: '1.0.0', provenance: true })
const dropped = await registry.publish({ name: 'dropped', version: '1.0.1' })
const forged = await registry.publish({
  name: 'forged',
  version: '1.0.0',
  attestations: proven.attestations,
})

const honest = [signed, proven, bare, old]
const lockOf = (...published: readonly Published[]) =>
  packageLock(
    Object.fromEntries(published.map(one => [`node_modules/${one.name}`, entryOf(one)])),
  )

const publicUrl = 'http://proxy.example/'

/** A project of its own, with settings that name the registry, and a store that goes with it. */
const project = async (
  t: Test,
  lockfile: string,
  { name = 'package-lock.json', settings = `publicUrl: ${publicUrl}` } = {},
) => {
  const cwd = await mkdtemp(join(tmpdir(), 'attestry-audit-'))
  t.teardown(() => rm(cwd, { recursive: true, force: true }))
  await writeSettings(cwd, {
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    policies: [policy],
    settings,
    upstreamSettings: ['retries: 0'],
  })
  await writeFile(join(cwd, name), lockfile)
  const run = (args: readonly string[] = [], env = {}, columns?: number): Promise<Said> =>
    runCli(['audit', ...args], { cwd, env, ...(columns !== undefined && { columns }) })
  return { cwd, run, file: (path: string) => readFile(join(cwd, path), 'utf8') }
}

type Json = {
  outcome: string
  exitCode: number
  counts: Record<string, number>
  coverage: Record<string, number>
  packages: {
    name: string
    outcome: string
    reasons: { code: string }[]
    lines: number[]
    publisher?: { repository: string }
    waiver?: string
  }[]
  pastProxy: { name: string; covered: boolean; fixable: boolean; resolved?: string }[]
  notJudged: { name: string; kind: string }[]
  notes: string[]
}
const jsonOf = ({ stdout }: Said) => JSON.parse(stdout) as Json
const codesOf = (json: Json) =>
  Object.fromEntries(json.packages.map(p => [p.name, p.reasons.map(({ code }) => code)]))

t.test('clean is 0, and tells how much is proven', async t => {
  const { run } = await project(t, lockOf(...honest))
  const said = await run(['--json'])
  t.equal(said.code, 0, said.stderr)
  t.equal(said.stderr, '', 'no progress in a pipe')
  const json = jsonOf(said)
  t.match(json, {
    outcome: 'clean',
    counts: { judged: 4, allowed: 4, refused: 0, unknown: 0, waived: 1 },
    coverage: { provenance: 1, signature: 2, unsigned: 1, other: 0 },
  })
  t.match(json.packages[0], { name: '@acme/proven', publisher: { repository: /^https:/ } })
  t.equal(json.packages.find(({ name }) => name === 'old')?.waiver, 'reviewed')
  const text = await run([], {}, 80)
  t.match(text.stdout, /clean.*: 0 refused/)
  t.match(text.stderr, 'auditing', 'progress on a terminal')
  t.ok(text.stderr.endsWith('\r\u001b[K'), 'and gone')
})

t.test('refused is 1, with the place and the reason', async t => {
  const lock = lockOf(signed, banned, dropped, forged)
  const { run } = await project(t, lock)
  const said = await run(['--json'])
  const json = jsonOf(said)
  t.equal(said.code, 1)
  t.match(codesOf(json), {
    signed: [],
    banned: ['DENIED'],
    dropped: ['DOWNGRADED'],
    forged: ['WRONG_SUBJECT'],
  })
  const line = lock.split('\n').findIndex(text => text.includes('"node_modules/banned"')) + 1
  t.same(json.packages.find(({ name }) => name === 'banned')?.lines, [line])
  const { stdout } = await run()
  t.match(stdout, `package-lock.json:${line}`)
  t.match(stdout, 'it steals tokens')
  t.match(stdout, 'attestry why banned@1.0.0')
})

t.test(
  'bytes other than the packument names are refused, twice the same name or not',
  async t => {
    const other = { ...signed, integrity: bare.integrity }
    const lock = packageLock({
      'node_modules/signed': entryOf(signed),
      'node_modules/bare/node_modules/signed': entryOf(other),
      'node_modules/old/node_modules/signed': entryOf(signed),
      'node_modules/dropped/node_modules/signed': { version: '1.0.0' },
      'node_modules/forged/node_modules/signed': { version: '1.0.0', integrity: 'sha1-AAAA' },
    })
    const said = await (await project(t, lock)).run(['--json'])
    t.equal(said.code, 1)
    const { packages } = jsonOf(said)
    t.same(
      packages.map(({ outcome, lines }) => `${outcome} ${lines.length}`).toSorted(),
      ['allowed 2', 'allowed 2', 'refused 1'],
      'one verdict for each pinned integrity',
    )
  },
)

t.test('could not tell is 2, neither clean nor refused', async t => {
  t.teardown(() => registry.heal())
  const ghost = packageLock({
    'node_modules/signed': entryOf(signed),
    'node_modules/old': { version: '9.9.9' },
    'node_modules/ghost': { version: '1.0.0' },
  })
  const missing = await (await project(t, ghost)).run(['--json'])
  t.equal(missing.code, 2)
  t.match(codesOf(jsonOf(missing)), { ghost: ['ENOTFOUND'], old: ['ENOTFOUND'], signed: [] })

  const { run } = await project(t, lockOf(signed, proven, bare))
  registry.faults.status = 503
  registry.faults.only = /signed/
  const sick = await run(['--json'])
  t.equal(sick.code, 2)
  t.match(codesOf(jsonOf(sick)), { signed: ['EUPSTREAM'], bare: [] })
  registry.heal()
  const fresh = await project(t, lockOf(signed, proven, bare))
  registry.faults.attestationsStatus = 500
  const blind = await fresh.run(['--json'])
  t.equal(blind.code, 2)
  t.match(codesOf(jsonOf(blind)), { '@acme/proven': ['EVIDENCE_UNAVAILABLE'] })
  registry.heal()
  t.equal((await fresh.run(['--json'])).code, 0, 'and it is not remembered')

  registry.faults.down = true
  t.equal((await (await project(t, lockOf(signed))).run()).code, 2)
  registry.heal()
  registry.faults.status = 503
  registry.faults.only = /signed/
  const worse = await (await project(t, lockOf(signed, banned))).run(['--json'])
  t.match(jsonOf(worse).counts, { refused: 1, unknown: 1 })
  t.equal(worse.code, 1, 'a refusal is not hidden behind it')
})

t.test('a version newer than what we have is asked for', async t => {
  const first = await registry.publish({ name: 'moving', version: '1.0.0' })
  const { run, cwd } = await project(t, lockOf(first))
  t.equal((await run()).code, 0)
  const next = await registry.publish({ name: 'moving', version: '1.0.1' })
  await writeFile(join(cwd, 'package-lock.json'), lockOf(next))
  t.equal((await run()).code, 0)
})

t.test('what is no registry package is listed', async t => {
  const lock = packageLock({
    'node_modules/signed': entryOf(signed),
    'packages/part': { name: 'part', version: '1.0.0' },
    'node_modules/part': { resolved: 'packages/part', link: true },
    'node_modules/near': { version: '1.0.0', resolved: 'file:near.tgz' },
  })
  const { run } = await project(t, lock)
  const said = await run(['--json', '--registry', registry.url])
  t.equal(said.code, 0)
  t.same(
    jsonOf(said)
      .notJudged.map(({ kind }) => kind)
      .toSorted(),
    ['file', 'link', 'workspace'],
  )
  t.same(jsonOf(said).pastProxy, [])
  const git = packageLock({
    'node_modules/gitty': {
      version: '1.0.0',
      resolved: `git+ssh://git:secret@host.example/a/gitty.git#${'0'.repeat(40)}`,
    },
  })
  const past = await (await project(t, git)).run(['--json'])
  t.equal(past.code, 2, 'nobody judged it')
  t.match(jsonOf(past).pastProxy, [{ name: 'gitty', covered: false, fixable: false }])
  t.notMatch(past.stdout, 'secret')
})

t.test('past the proxy', async t => {
  const far = (of: typeof signed, integrity: string = of.integrity) => ({
    name: of.name,
    version: of.version,
    tarballUrl: of.tarballUrl.replace(registry.url, elsewhere),
    integrity: integrity as typeof of.integrity,
  })
  const lockfile = yarnLock([far(signed), far(proven)])
  const { run, cwd, file } = await project(t, lockfile, { name: 'yarn.lock' })
  const said = await run(['--json'])
  t.equal(said.code, 0, 'the bytes are pinned and judged')
  t.match(jsonOf(said).pastProxy, [
    { name: 'signed', covered: true, fixable: true },
    { name: '@acme/proven', covered: true, fixable: true },
  ])
  t.equal((await run(['--strict', '--json'])).code, 1)

  const twice = `${signed.integrity} ${bare.integrity}`
  const cases: [what: string, text: string, code: number][] = [
    ['nothing pins the bytes', yarnLock([far(signed, '')]), 2],
    ['other bytes are pinned', yarnLock([far(signed, bare.integrity)]), 1],
    ['two digests, of which a client takes either', yarnLock([far(signed, twice)]), 2],
    ['our own upstream, not pinned', yarnLock([{ ...signed, integrity: 'sha512-' }]), 0],
  ]
  for (const [what, text, code] of cases) {
    const one = await project(t, text, { name: 'yarn.lock' })
    t.match(await one.run(), { code, stderr: '' }, what)
  }
  // the upstream has no sha512 to compare with: whoever wrote the lockfile chose the bytes
  const chosen = await registry.publish({
    name: 'chosen',
    version: '1.0.0',
    integrity: undefined,
    signed: false,
  })
  const unpinned = await project(t, yarnLock([far(chosen, bare.integrity)]), {
    name: 'yarn.lock',
  })
  t.equal((await unpinned.run()).code, 2, 'the upstream does not name the bytes')

  t.test('--fix', async t => {
    const dry = await run(['--fix', '--dry-run'])
    t.equal(await file('yarn.lock'), lockfile, 'a dry run changes nothing')
    t.match(dry.stdout, `- resolved "${far(signed).tarballUrl}#`)
    t.match(dry.stdout, `+ resolved "${publicUrl}signed/-/signed-1.0.0.tgz#`)
    t.match(dry.stdout, '2 entries would be pointed')
    const path = join(cwd, 'yarn.lock')
    await rm(path)
    await writeFile(join(cwd, 'real.lock'), lockfile, { mode: 0o640 })
    await symlink('real.lock', path)
    const fixed = await run(['--fix', '--json', '--only', 'signed'])
    t.equal(fixed.code, 0)
    t.match(fixed.stderr, '1 entry now points')
    t.same(jsonOf(fixed).pastProxy, [])
    t.equal(jsonOf(fixed).counts.fixed, 1)
    t.match(await file('yarn.lock'), elsewhere, 'what is left out stays as it was')
    await run(['--fix', '--json'])
    t.equal(await file('yarn.lock'), lockfile.replaceAll(elsewhere, publicUrl))
    t.ok((await lstat(path)).isSymbolicLink(), 'a link stays a link')
    t.equal((await stat(path)).mode & 0o777, 0o640)
    t.match((await run(['--fix'])).stdout, 'nothing to fix')
    const unset = await project(t, lockfile, { name: 'yarn.lock', settings: '' })
    t.match(await unset.run(['--fix']), { code: 2, stderr: /EUSAGE/ }, 'whose address?')
    t.equal(await unset.file('yarn.lock'), lockfile)
    t.equal((await unset.run(['--fix', '--registry', publicUrl])).code, 0)
    t.equal(await unset.file('yarn.lock'), lockfile.replaceAll(elsewhere, publicUrl))
  })
})

t.test('filters', async t => {
  const lock = packageLock({
    'node_modules/signed': entryOf(signed),
    'node_modules/@acme/proven': { ...entryOf(proven), optional: true },
    'node_modules/banned': { ...entryOf(banned), dev: true },
  })
  const { run } = await project(t, lock)
  const names = async (...args: string[]) => {
    const said = await run(['--json', ...args])
    const { packages, counts } = jsonOf(said)
    t.equal(packages.length + (counts.filtered ?? 0), 3)
    return [said.code, ...packages.map(({ name }) => name)]
  }
  t.same(await names(), [1, '@acme/proven', 'banned', 'signed'])
  t.same(await names('--omit', 'dev'), [0, '@acme/proven', 'signed'])
  t.same(await names('--omit=dev', '--omit=optional'), [0, 'signed'])
  t.same(await names('--only', '@acme/*'), [0, '@acme/proven'])
  t.same(await names('--only', 'banned', '--only', 'signed@1.0.0'), [1, 'banned', 'signed'])
  t.same(await names('--exclude', 'banned'), [0, '@acme/proven', 'signed'])
  t.same(await names('--only', 'banned@2.0.0'), [0])
  const yarn = await project(t, yarnLock([signed]), { name: 'yarn.lock' })
  const { notes } = jsonOf(await yarn.run(['--json', '--omit', 'dev']))
  t.equal(notes.length, 1, 'yarn.lock does not tell, and that is said')
})

t.test('offline the store answers, and nobody is asked', async t => {
  const { run } = await project(t, lockOf(signed, proven))
  const before = await run(['--json', '--offline'])
  t.equal(before.code, 2)
  t.match(codesOf(jsonOf(before)), { signed: ['EOFFLINE'] })
  t.equal((await run(['--json'])).code, 0)
  const asked = registry.requests.length
  const after = await run(['--json', '--offline'])
  t.match(jsonOf(after), { outcome: 'clean', coverage: { provenance: 1, signature: 1 } })
  t.equal(registry.requests.length, asked)
})

t.test('where reports go', async t => {
  const { run, cwd, file } = await project(t, lockOf(signed, banned))
  const both = await run([
    '--sarif=out.sarif',
    '--junit=out.xml',
    '--markdown=out.md',
    '--json',
  ])
  t.equal(both.code, 1)
  t.equal(jsonOf(both).outcome, 'refused')
  t.match(JSON.parse(await file('out.sarif')), { version: '2.1.0' })
  t.match(await file('out.xml'), /^<\?xml/)
  t.match(await file('out.md'), /^## /)
  const files = await run(['--json=out.json'])
  t.match(files.stdout, 'DENIED', 'people get the table besides')
  t.match(JSON.parse(await file('out.json')), { exitCode: 1 })
  t.match(await run(['--json=missing/out.json']), { code: 2, stderr: /EUSAGE/ })

  await mkdir(join(cwd, 'part'))
  await writeFile(join(cwd, 'part', 'package-lock.json'), await file('package-lock.json'))
  const summary = join(cwd, 'summary.md')
  await writeFile(summary, 'before\n')
  const env = {
    GITHUB_ACTIONS: 'true',
    GITHUB_STEP_SUMMARY: summary,
    GITHUB_WORKSPACE: join(cwd, '..'),
  }
  const inCi = await run(['part/package-lock.json', '--sarif=ci.sarif'], env)
  const folder = cwd.slice(cwd.lastIndexOf('/') + 1)
  t.match(inCi.stdout, `::error file=${folder}/part/package-lock.json,line=`)
  t.match(await file('ci.sarif'), `"uri": "${folder}/part/package-lock.json"`)
  t.match(await file('summary.md'), /^before\n## /)
  const machine = await run(['--json'], env)
  t.equal(jsonOf(machine).outcome, 'refused', 'JSON stays JSON')
  t.match(machine.stderr, /^::error /m)
  t.notMatch((await run(['--no-annotations'], env)).stdout, '::error')
  t.match((await run(['--annotations'])).stdout, '::error')
})

t.test('wrong usage is 2', async t => {
  const { run, cwd } = await project(t, lockOf(signed))
  for (const args of [
    ['--json', '--sarif'],
    ['--json='],
    ['a', 'b'],
    ['--json', 'report.json'],
    ['--dry-run'],
    ['--omit', 'peer'],
    ['--only', 're*act'],
    ['--registry', 'ftp://x'],
    ['--wat'],
  ])
    t.match(await run(args), { code: 2, stdout: '', stderr: /^EUSAGE: /m }, args.join(' '))
  t.match(await run(['--help']), { code: 0, stdout: /--sarif/ })
  t.match(await run(['missing.json']), { code: 2, stderr: /^ELOCKFILE: /m })
  await writeFile(join(cwd, 'yarn.lock'), '{')
  t.match(await run(), { code: 2, stderr: /^ELOCKFILE: /m }, 'two lockfiles')
  t.match(await run(['.']), { code: 2, stderr: /found .* and yarn\.lock/ }, 'by its folder')
  t.match(await run(['yarn.lock']), { code: 2, stderr: /yarn\.lock:1:/ })
})

t.test('the pool', async t => {
  const subject = (name: string, version = '1.0.0'): Subject => ({
    name,
    version,
    lines: [1],
    dev: false,
    optional: false,
  })
  const fine = (name: string) => {
    const absent = { state: 'absent' } as const
    const evidence = {
      registrySignature: absent,
      publishAttestation: absent,
      provenance: absent,
    }
    const verdict = { decision: 'allow', reasons: [], layers: [] }
    const input = { evidence, claims: {}, history: Array.from({ length: 100 }, () => name) }
    return { verdict, input, notes: [] } as unknown as Assessment
  }
  const failing = (code: 'EUPSTREAM' | 'ENOTFOUND') => async () => {
    throw new AttestryError(code, 'no')
  }
  const names = Array.from({ length: 40 }, (_, i) => `pkg-${i}`)

  const running = new Map<string, number>()
  let most = 0
  const subjects = names.flatMap(name => [subject(name), subject(name, '2.0.0')])
  const judged = await judgeAll(subjects, {
    concurrency: 4,
    assess: async ({ name }) => {
      running.set(name, (running.get(name) ?? 0) + 1)
      t.equal(running.get(name), 1, 'versions of one package follow each other')
      most = Math.max(
        most,
        [...running.values()].reduce((a, b) => a + b),
      )
      await new Promise(setImmediate)
      running.set(name, 0)
      return fine(name)
    },
  })
  t.equal(most, 4)
  t.equal(judged.length, 80)
  t.notMatch(JSON.stringify(judged), '"history"', 'what is large is let go')
  const order = await judgeAll([subject('b', '1.10.0'), subject('b', '1.9.0'), subject('a')], {
    assess: async ({ name }) => fine(name),
  })
  t.same(
    order.map(({ name, version }) => name + version),
    ['a1.0.0', 'b1.9.0', 'b1.10.0'],
  )

  let asked = 0
  const dead = await judgeAll(
    names.map(name => subject(name)),
    {
      concurrency: 2,
      patience: 5,
      upstreamOf: name => (name === 'pkg-39' ? 'other' : ''),
      assess: async ({ name }) => {
        asked++
        if (name === 'pkg-39') return fine(name)
        return failing('EUPSTREAM')()
      },
    },
  )
  t.ok(asked <= 7, `${asked} asked: a dead upstream is given up`)
  t.equal(dead.filter(({ outcome }) => outcome === 'unknown').length, 39)
  t.equal(
    dead.find(({ name }) => name === 'pkg-39')?.outcome,
    'allowed',
    'another one is asked',
  )
  const missing = await judgeAll(
    names.map(name => subject(name)),
    {
      patience: 5,
      assess: failing('ENOTFOUND'),
    },
  )
  t.ok(
    missing.every(({ reasons }) => reasons[0]?.code === 'ENOTFOUND'),
    'an answer is no failure',
  )
  const defect = await judgeAll([subject('a')], {
    assess: async () => {
      throw new TypeError('nobody meant this')
    },
  })
  t.match(defect, [{ outcome: 'unknown', reasons: [{ code: 'EINTERNAL' }] }])
})
