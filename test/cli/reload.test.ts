import { spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { openReload, type ReloadOptions } from '../../lib/cli/reload.ts'
import { openWaiverWatch } from '../../lib/cli/waiver-watch.ts'
import type { AttestryError } from '../../lib/errors.ts'
import { policyDigest } from '../../lib/policy/digest.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import type { Policy } from '../../lib/policy/policy.ts'
import { loadPolicies } from '../../lib/open-policies.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, writeSettings } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const INTERVAL = 20

const until = async (what: string, holds: () => boolean | Promise<boolean>) => {
  const deadline = Date.now() + 20_000
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await new Promise(resolve => {
      setTimeout(resolve, 10)
    })
  }
}

/** Long enough for several readings. */
const readings = () =>
  new Promise(resolve => {
    setTimeout(resolve, INTERVAL * 10)
  })

const allows = 'version: 1\n'
const denies = 'version: 1\nrules: [{ packages: [lib], deny: { reason: no } }]\n'
const names = (policies: readonly Policy[]) =>
  policies.map(({ rules }) => rules.map(rule => rule.outcome.kind).join())

/** A reload over one file, and what it did. */
const watching = async (t: Test, text: string, more: Partial<ReloadOptions> = {}) => {
  const folder = await mkdtemp(join(tmpdir(), 'attestry-reload-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'p.yaml')
  await writeFile(file, text)
  const adopted: (readonly Policy[])[] = []
  const refused: AttestryError[] = []
  let restored = 0
  const reload = openReload({
    files: [file],
    upstreams: ['npm'],
    policies: [parsePolicy(text, { file, name: 'p.yaml' })],
    adopt: policies => adopted.push(policies),
    onRefused: error => refused.push(error),
    onRestored: () => restored++,
    interval: INTERVAL,
    ...more,
  })
  t.teardown(() => reload.close())
  return { folder, file, adopted, refused, restored: () => restored, reload }
}

t.test('a changed file is adopted, once', async t => {
  const { file, adopted, refused, reload } = await watching(t, allows)
  await readings()
  t.same(adopted, [], 'nothing has changed')
  await writeFile(file, denies)
  await until('the change', () => adopted.length > 0)
  await readings()
  t.same(adopted.map(names), [['deny']])
  t.equal(reload.policies(), adopted[0])
  t.same(refused, [])
})

t.test('what changed between the start and the first reading counts', async t => {
  const { adopted } = await watching(t, denies, {
    policies: [parsePolicy(allows, { file: 'p', name: 'p.yaml' })],
  })
  await until('the change', () => adopted.length > 0)
  t.same(adopted.map(names), [['deny']])
})

t.test('a file renamed over, and one that was away for a moment', async t => {
  const { folder, file, adopted, refused } = await watching(t, allows)
  await writeFile(join(folder, 'new'), denies)
  await rename(join(folder, 'new'), file)
  await until('the rename', () => adopted.length === 1)
  await rename(file, join(folder, 'backup'))
  await writeFile(file, allows)
  await until('the new file', () => adopted.length === 2)
  t.same(adopted.map(names), [['deny'], ['']])
  t.same(refused, [])
})

t.test('a symlink that is swapped, as a ConfigMap is', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'attestry-reload-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  for (const [name, text] of [
    ['..1', allows],
    ['..2', denies],
  ] as const) {
    await mkdir(join(folder, name))
    await writeFile(join(folder, name, 'p.yaml'), text)
  }
  await symlink('..1', join(folder, '..data'))
  await symlink('..data/p.yaml', join(folder, 'p.yaml'))
  const { adopted } = await watching(t, allows, { files: [join(folder, 'p.yaml')] })
  await readings()
  await symlink('..2', join(folder, '..next'))
  await rename(join(folder, '..next'), join(folder, '..data'))
  await until('the swap', () => adopted.length > 0)
  t.same(adopted.map(names), [['deny']])
})

t.test('what cannot be judged by is refused, once each, and the old stays', async t => {
  const { file, adopted, refused, reload, restored } = await watching(t, denies)
  await writeFile(file, 'version: 1\nruls: []\n')
  await until('the refusal', () => refused.length > 0)
  await readings()
  t.equal(refused.length, 1)
  t.match(refused[0], { code: 'EPOLICY', details: { complaints: [{ line: 2, column: 1 }] } })
  t.match(refused[0]?.message, `${file}:2:1: `)
  t.equal(await reload.reload(), 'refused')
  t.equal(refused.length, 2, 'who asks is told again')

  await writeFile(file, 'version: 1\nrules: [{ packages: ["@a/*"], upstream: acme }]\n')
  await until('the refusal', () => refused.length > 2)
  t.match(refused.at(-1)?.message, /p\.yaml:2:31: upstream: acme is not configured/)

  await rm(file)
  await until('the refusal', () => refused.length > 3)
  t.match(refused.at(-1)?.message, 'there is no such file')
  t.same(adopted, [])
  t.same(names(reload.policies()), ['deny'])

  t.equal(restored(), 0)
  await writeFile(file, denies)
  await until('what was', () => restored() === 1)
  t.same(adopted, [], 'it was in force all the time')
})

t.test('one broken file of several refuses them all, with every complaint', async t => {
  const { folder, file, adopted, refused } = await watching(t, allows)
  const other = join(folder, 'q.yaml')
  await writeFile(other, allows)
  const both = await watching(t, allows, {
    files: [file, other],
    policies: [parsePolicy(allows, { file }), parsePolicy(allows, { file: other })],
    adopt: policies => adopted.push(policies),
    onRefused: error => refused.push(error),
  })
  await writeFile(file, 'version: 2\n')
  await writeFile(other, 'version: 3\n')
  t.equal(await both.reload.reload(), 'refused')
  t.match(refused.at(-1)?.message, /p\.yaml:1:1: .*\n.*q\.yaml:1:1: /)
  t.same(adopted, [])
})

t.test('no half-written file is taken', async t => {
  // every state of it is a policy that could be judged by
  const write = async (file: string) => {
    for (let n = 0; n < 30; n++) {
      await writeFile(file, `${allows}# ${'x'.repeat(n + 1)}\n`)
      await new Promise(resolve => {
        setTimeout(resolve, 20)
      })
    }
    await writeFile(file, denies)
  }
  t.test('by looking', async t => {
    const { file, adopted, refused } = await watching(t, allows, { interval: 250 })
    await write(file)
    await until('the change', () => adopted.length > 0)
    t.same(adopted.map(names), [['deny']])
    t.same(refused, [])
  })
  t.test('when asked', async t => {
    const { file, adopted, refused, reload } = await watching(t, allows, { interval: 60_000 })
    const writing = write(file)
    t.equal(await reload.reload(), 'adopted')
    await writing
    t.same(adopted.map(names), [['deny']])
    t.same(refused, [])
  })
})

t.test('a key file that a policy names', async t => {
  const pem = () =>
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({
      format: 'pem',
      type: 'spki',
    })
  const text =
    'version: 1\nrules: [{ packages: [lib], require: { vouch: { key: ./k.pub } } }]\n'
  const folder = await mkdtemp(join(tmpdir(), 'attestry-reload-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const [file, key] = [join(folder, 'p.yaml'), join(folder, 'k.pub')]
  await writeFile(file, text)
  await writeFile(key, pem())
  const policies = await loadPolicies([file])
  const { adopted, refused } = await watching(t, text, { files: [file], policies })
  await readings()
  t.same(adopted, [], 'the same as was read at the start')
  await writeFile(key, pem())
  await until('the other key', () => adopted.length > 0)
  t.not(policyDigest(adopted[0] ?? []), policyDigest(policies))
  await readings()
  t.equal(adopted.length, 1, 'once')
  await writeFile(key, 'no key')
  await until('the complaint', () => refused.length > 0)
  t.match(refused[0], { code: 'EPOLICY', message: /no public key/ })
  t.equal(adopted.length, 1, 'what was in force stays')
})

t.test('after closing nothing is adopted', async t => {
  const { file, adopted, reload } = await watching(t, allows)
  await reload.close()
  await writeFile(file, denies)
  await readings()
  t.same(adopted, [])
})

t.test('waivers are told at the start, when asked, and again each day', async t => {
  const waiver = 'allow: { reason: r, until: 2026-11-30 }'
  const text = `version: 1\nrules: [{ packages: [a], ${waiver} }]\n`
  const told: string[][] = []
  let policies = [parsePolicy(text, { file: 'p' })]
  const watch = openWaiverWatch({
    policies: () => policies,
    onWaivers: waivers => told.push(waivers.map(({ rule, ended }) => `${rule} ${ended}`)),
    now: () => new Date('2026-11-22T12:00:00Z'),
    interval: 30,
  })
  t.teardown(watch.close)
  t.same(told, [['rule 1 false']])
  policies = []
  watch.tell()
  t.same(told, [['rule 1 false'], []])
  await until('the next day', () => told.length > 3)
})

t.test('a running server', async t => {
  const sigstore = await localSigstore()
  const registry = await startRegistry({ sigstore })
  t.teardown(async () => {
    await registry.close()
    await sigstore.close()
  })
  for (const version of ['1.0.0', '1.1.0'])
    await registry.publish({ name: 'lib', version, provenance: true })
  await registry.publish({ name: 'other', version: '1.0.0', provenance: true })
  const base = {
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    policies: [allows],
  }

  t.test('under load no request fails', async t => {
    const proxy = await startProxy(base)
    t.teardown(() => proxy.close())
    const file = join(proxy.folder, 'policy-0.yaml')
    const refused: AttestryError[] = []
    const reload = openReload({
      files: [file],
      upstreams: ['npm'],
      policies: proxy.policies,
      adopt: proxy.gate.adopt,
      onRefused: error => refused.push(error),
      interval: INTERVAL,
    })
    t.teardown(() => reload.close())
    const get = (path: string) => fetch(new URL(path, proxy.url))
    const digest = async () =>
      ((await (await get('/-/attestry/health/ready')).json()) as { policy: string }).policy

    const answers = new Map<string, number>()
    let running = true
    const load = async (path: string) => {
      while (running) {
        const answer = await get(path).then(
          async response => {
            await response.arrayBuffer()
            return `${path} ${response.status}`
          },
          (error: unknown) => `${path} ${String(error)}`,
        )
        answers.set(answer, (answers.get(answer) ?? 0) + 1)
      }
    }
    const tarball = '/lib/-/lib-1.0.0.tgz'
    const work = ['/lib', tarball, '/other', '/other/-/other-1.0.0.tgz'].map(load)
    const status = async (path: string) => (await get(path)).status
    const first = await digest()
    t.equal(await status(tarball), 200)

    await writeFile(file, denies)
    await until('the denial', async () => (await status(tarball)) === 403)
    const second = await digest()
    t.not(second, first)
    t.equal(await status('/lib'), 403)
    t.equal(await status('/other/-/other-1.0.0.tgz'), 200)

    await writeFile(file, 'version: 1\nrules: [{\n')
    await until('the refusal', () => refused.length > 0)
    t.equal(await status(tarball), 403, 'the old one is in force')
    t.equal(await digest(), second)

    for (const text of [allows, denies, allows, denies, allows]) {
      await writeFile(file, text)
      const wanted = text === allows ? 200 : 403
      await until('the change', async () => (await status(tarball)) === wanted)
    }
    t.equal(await digest(), first)
    running = false
    await Promise.all(work)
    t.same(
      [...answers.keys()].filter(answer => !/ 200$|^\/lib\S* 403$/.test(answer)),
      [],
      'every answer was a verdict',
    )
    t.ok(answers.get(`${tarball} 403`), 'and both were given')
    t.ok(answers.get(`${tarball} 200`))
  })

  t.test('serve: SIGHUP, log and metrics', async t => {
    const folder = await mkdtemp(join(tmpdir(), 'attestry-reload-'))
    t.teardown(() => rm(folder, { recursive: true, force: true }))
    const viewFile = join(folder, 'view.yaml')
    await writeFile(viewFile, allows)
    const settings = await writeSettings(folder, {
      ...base,
      policies: [allows],
      settings: `views: { team: { policies: [${JSON.stringify(viewFile)}] } }`,
    })
    const root = fileURLToPath(new URL('../../', import.meta.url))
    const args = ['bin/attestry.ts', 'serve', '-c', settings, '--log-level', 'info']
    const child = spawn(process.execPath, args, {
      cwd: root,
      stdio: ['ignore', 'inherit', 'pipe'],
      env: {},
    })
    const exited = once(child, 'exit')
    t.teardown(async () => {
      child.kill('SIGKILL')
      await exited
    })
    const lines: Record<string, unknown>[] = []
    createInterface(child.stderr).on('line', line =>
      lines.push(JSON.parse(line) as Record<string, unknown>),
    )
    const event = async (name: string) => {
      await until(name, () => lines.some(line => line['event'] === name))
      return lines.findLast(line => line['event'] === name) ?? {}
    }
    const { url, policyDigest } = await event('listening')
    const metrics = async () =>
      (await fetch(new URL('/-/attestry/metrics', String(url)))).text()
    const info = (digest: unknown) =>
      `attestry_policy_info{digest="${String(digest)}",policy="policy-0.yaml"} 1`
    t.match(await metrics(), info(policyDigest))
    t.match(await metrics(), 'attestry_waivers_ending 0')

    const soon = new Date(Date.now() + 3 * 86_400_000).toISOString()
    const waived = `version: 1\nrules: [{ name: w, packages: [x], allow: { reason: r, until: '${soon}' } }]\n`
    await writeFile(join(folder, 'policy-0.yaml'), waived)
    child.kill('SIGHUP')
    const adopted = await event('policy-adopted')
    t.not(adopted['policyDigest'], policyDigest)
    t.match(await event('waiver-ending'), { rule: 'w', until: soon, packages: ['x'] })
    const text = await metrics()
    t.match(text, info(adopted['policyDigest']))
    t.notMatch(text, info(policyDigest))
    t.match(text, 'attestry_waivers_ending 1')
    t.match(text, 'attestry_policy_reloads_total{result="adopted"} 1')

    await writeFile(join(folder, 'policy-0.yaml'), 'version: 1\nmode: [\n')
    const refused = await event('policy-refused')
    t.match(refused, { level: 'error', complaints: [{ line: 3, column: 1 }] })
    t.match(refused['msg'], /policy-0\.yaml:3:1: /)
    t.match(await metrics(), 'attestry_policy_refused 1')

    const inView = await fetch(new URL('/v/team/lib/-/lib-1.0.0.tgz', String(url)))
    t.equal(inView.status, 200)
    await inView.arrayBuffer()
    await writeFile(viewFile, denies)
    child.kill('SIGHUP')
    await until('the policy of the view', () =>
      lines.some(line => line['event'] === 'policy-adopted' && line['view'] === 'team'),
    )
    const denied = await fetch(new URL('/v/team/lib/-/lib-1.0.0.tgz', String(url)))
    t.equal(denied.status, 403)
    await denied.arrayBuffer()
    t.match(
      await metrics(),
      /attestry_policy_info\{digest="[0-9a-f]+",policy="view\.yaml",view="team"\} 1/,
    )
    t.match(await metrics(), 'attestry_policy_refused 1', 'that of everybody is broken still')
    child.kill('SIGTERM')
    t.same(await exited, [0, null])
  })
})
