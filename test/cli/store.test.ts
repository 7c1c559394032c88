/** What is kept, looked at and carried to a site without the network. */
import { mkdir, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Header, list as listTar } from 'tar'
import { gunzipSync, gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, writeSettings, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { runCli } from './console.ts'

const sigstore = await localSigstore()
const stranger = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
  await stranger.close()
})
await registry.publish({ name: 'app', version: '1.0.0', provenance: true })
await registry.publish({ name: 'app', version: '1.1.0', provenance: true })
await registry.publish({ name: '@acme/lib', version: '2.0.0' })
await registry.publish({ name: 'big', version: '1.0.0', size: 3_000_000 })

const base: ProxyOptions = {
  upstream: registry.url,
  trustedRoot: sigstore.trustedRoot,
  registryKeys: sigstore.registryKeys(),
}

type Entry = { path: string; data: Buffer; type?: 'File' | 'SymbolicLink' | 'Directory' }

const readTar = async (file: string): Promise<Entry[]> => {
  const entries: Entry[] = []
  await listTar({
    file,
    onReadEntry: entry => {
      const chunks: Buffer[] = []
      entry.on('data', (chunk: Buffer) => chunks.push(chunk))
      entry.on('end', () => entries.push({ path: entry.path, data: Buffer.concat(chunks) }))
    },
  })
  return entries
}

const tarOf = (entries: readonly Entry[], { size }: { size?: number } = {}): Buffer =>
  Buffer.concat([
    ...entries.flatMap(({ path, data, type = 'File' }) => {
      const header = new Header({ path, size: size ?? data.length, type, mode: 0o644 })
      if (type === 'SymbolicLink') header.linkpath = '/etc/passwd'
      header.encode()
      return [
        header.block ?? Buffer.alloc(0),
        data,
        Buffer.alloc((512 - (data.length % 512)) % 512),
      ]
    }),
    Buffer.alloc(1024),
  ])

/** A site with this archive; `up` says whether its upstream can be asked. */
const siteWith = async (t: Test, options: Partial<ProxyOptions> = {}) => {
  const cwd = t.testdir()
  // an address where nobody listens: what works here needs no network
  const settings = { ...base, upstream: 'http://127.0.0.1:9/', ...options }
  await writeSettings(cwd, {
    ...settings,
    settings: `cache: { offline: true }\n${options.settings ?? ''}`,
  })
  const run = (...argv: string[]) => runCli(['store', ...argv], { cwd })
  const serve = async () => {
    const proxy = await startProxy({
      ...settings,
      storage: join(cwd, 'store'),
      settings: 'cache: { offline: true }',
    })
    t.teardown(() => proxy.close())
    return proxy
  }
  return { cwd, run, serve }
}

const home = await (async () => {
  const cwd = t.testdir()
  const proxy = await startProxy({ ...base, storage: join(cwd, 'store') })
  for (const path of [
    'app/-/app-1.0.0.tgz',
    'app/-/app-1.1.0.tgz',
    '@acme/lib/-/lib-2.0.0.tgz',
    'big/-/big-1.0.0.tgz',
  ]) {
    const response = await fetch(`${proxy.url}${path}`)
    if (response.status !== 200) throw new Error(`${path}: ${response.status}`)
    await response.arrayBuffer()
  }
  await proxy.gate.idle()
  await proxy.close()
  await writeSettings(cwd, { ...base, storage: join(cwd, 'store') })
  await writeFile(
    join(cwd, 'package-lock.json'),
    JSON.stringify({
      lockfileVersion: 3,
      packages: {
        '': { name: 'x' },
        'node_modules/app': { version: '1.0.0' },
        'node_modules/none': { version: '1.0.0' },
      },
    }),
  )
  const run = (...argv: string[]) => runCli(['store', ...argv], { cwd })
  return { cwd, run, archive: join(cwd, 'all.tar') }
})()

t.test('export', async t => {
  const { run, cwd, archive } = home
  t.match(await run('export', 'all.tar'), {
    code: 0,
    stdout: /^all\.tar: 3 packages, 4 tarballs, /,
  })
  const paths = (await readTar(archive)).map(({ path }) => path)
  t.equal(paths[0], 'attestry-export.json')
  for (const path of [
    'packuments/app.json.gz',
    'packuments/%40acme%2Flib.json.gz',
    'attestations/app/1.0.0.json',
    'tarballs/app/1.0.0.tgz',
    'tarballs/%40acme%2Flib/2.0.0.tgz',
    'tarballs/big/1.0.0.tgz',
  ])
    t.ok(paths.includes(path), path)
  const some = await run('export', 'some.tar', '--lockfile', 'package-lock.json', '--json')
  t.equal(some.code, 2, 'not everything is here')
  t.match(JSON.parse(some.stdout), { packages: 1, tarballs: 1, missing: ['none@1.0.0'] })
  t.notOk((await readdir(cwd)).some(name => name.endsWith('.partial')))
  t.match(await run('export', 'no/such/folder.tar'), { code: 2, stderr: /EARCHIVE/ })
  t.match(await run('export'), { code: 2, stderr: /EUSAGE/ })
})

t.test('import, and a site that asks nobody', async t => {
  const { run, serve } = await siteWith(t)
  t.match(await run('import', home.archive), {
    code: 0,
    stdout: '4 admitted, 0 refused, 0 failed.\n',
  })
  const proxy = await serve()
  const response = await fetch(`${proxy.url}app/-/app-1.1.0.tgz`)
  t.equal(response.status, 200)
  const document = (await (await fetch(`${proxy.url}app`)).json()) as { versions: object }
  t.same(Object.keys(document.versions), ['1.0.0', '1.1.0'])
  const why = await proxy.gate.why({ name: 'app', version: '1.0.0' })
  t.equal(why.evidence.facts.find(({ fact }) => fact === 'provenance')?.state, 'verified')
  t.equal((await fetch(`${proxy.url}-/npm/v1/attestations/app@1.0.0`)).status, 200)
  const missing = await fetch(`${proxy.url}none`)
  t.equal(missing.status, 404, 'a client need not try again')
  t.match(await missing.json(), { code: 'EOFFLINE' })
  let entries = 0
  for await (const { client } of proxy.store.audit.read())
    if (client.agent === 'attestry store import') entries++
  t.equal(entries, 4, 'each is on record')
})

t.test('nothing is believed because an archive says so', async t => {
  const entries = await readTar(home.archive)
  const importing = async (
    t: Test,
    changed: readonly Entry[],
    options: Partial<ProxyOptions> = {},
  ) => {
    const site = await siteWith(t, options)
    await writeFile(join(site.cwd, 'a.tar'), tarOf(changed))
    const { code, stdout } = await site.run('import', 'a.tar', '--json')
    return { code, told: JSON.parse(stdout) as Record<string, unknown>, ...site }
  }
  const change = (path: string, how: (data: Buffer) => Buffer) => {
    const found = entries.some(entry => entry.path === path)
    if (!found) throw new Error(`no ${path}`)
    return entries.map(entry =>
      entry.path === path ? { ...entry, data: how(entry.data) } : entry,
    )
  }

  t.test('other bytes', async t => {
    const { code, told } = await importing(
      t,
      change('tarballs/app/1.0.0.tgz', data => Buffer.concat([data, Buffer.from('x')])),
    )
    t.equal(code, 1)
    t.match(told, {
      admitted: 3,
      refused: 1,
      notAdmitted: [{ id: 'app@1.0.0', why: /INTEGRITY|bytes/ }],
    })
  })

  t.test('other bytes, and a packument that names them', async t => {
    const { createHash } = await import('node:crypto')
    const bytes =
      entries.find(({ path }) => path === 'tarballs/app/1.1.0.tgz')?.data ?? Buffer.alloc(0)
    const integrity = `sha512-${createHash('sha512').update(bytes).digest('base64')}`
    const forged = change('tarballs/app/1.0.0.tgz', () => bytes).map(entry => {
      if (entry.path !== 'packuments/app.json.gz') return entry
      const document = JSON.parse(gunzipSync(entry.data).toString()) as {
        versions: Record<string, { dist: { integrity: string } }>
      }
      const version = document.versions['1.0.0']
      if (version) version.dist.integrity = integrity
      return { ...entry, data: gzipSync(JSON.stringify(document)) }
    })
    const { code, told } = await importing(t, forged)
    t.equal(code, 1)
    t.match(
      told,
      { refused: 1, notAdmitted: [{ id: 'app@1.0.0' }] },
      'the signature is over others',
    )
  })

  t.test("this site's trust and policies", async t => {
    const untrusted = await importing(t, entries, {
      trustedRoot: stranger.trustedRoot,
      registryKeys: stranger.registryKeys(),
    })
    t.match(untrusted.told, { admitted: 0, refused: 4 })
    const policies = [
      `version: 1\nrules: [{ name: no, packages: [big], deny: { reason: too big } }]\n`,
    ]
    const strict = await importing(t, entries, { policies })
    t.match(strict.told, { admitted: 3, refused: 1, notAdmitted: [{ id: 'big@1.0.0' }] })
    t.equal((await strict.run('stats')).code, 0)
  })

  t.test('attestations that are not there are unknown, never absent', async t => {
    const { code, told } = await importing(
      t,
      entries.filter(({ path }) => !path.startsWith('attestations/')),
    )
    t.equal(code, 2)
    t.match(told, { admitted: 2, refused: 0, failed: 2 })
  })

  t.test('an archive of another upstream', async t => {
    const renamed = change('attestry-export.json', data =>
      Buffer.from(data.toString().replaceAll('"upstream":"npm"', '"upstream":"other"')),
    )
    t.match((await importing(t, renamed)).told, { admitted: 0 })
  })

  t.test('an old archive takes nothing back', async t => {
    const site = await siteWith(t)
    t.equal((await site.run('import', home.archive)).code, 0)
    const older = entries.map(entry => {
      if (entry.path === 'attestry-export.json') {
        const contents = JSON.parse(entry.data.toString()) as {
          packages: { fetchedAt: number }[]
        }
        const packages = contents.packages.map(one => ({
          ...one,
          fetchedAt: one.fetchedAt - 1000,
        }))
        return { ...entry, data: Buffer.from(JSON.stringify({ ...contents, packages })) }
      }
      if (entry.path !== 'packuments/app.json.gz') return entry
      const document = JSON.parse(gunzipSync(entry.data).toString()) as {
        versions: Record<string, unknown>
      }
      delete document.versions['1.1.0']
      return { ...entry, data: gzipSync(JSON.stringify(document)) }
    })
    await writeFile(join(site.cwd, 'old.tar'), tarOf(older))
    t.equal((await site.run('import', 'old.tar')).code, 0)
    const proxy = await site.serve()
    t.equal((await fetch(`${proxy.url}app/1.1.0`)).status, 200)
  })
})

t.test('hostile archives', async t => {
  const contents = { format: 1, createdAt: '', packages: [] as object[] }
  const first: Entry = {
    path: 'attestry-export.json',
    data: Buffer.from(JSON.stringify(contents)),
  }
  const data = Buffer.from('x')
  const odd: Entry[] = [
    first,
    { path: '../../outside', data },
    { path: '/absolute', data },
    { path: 'tarballs/../../outside.tgz', data },
    { path: 'tarballs/app/..%2F..%2Foutside.tgz/x', data },
    { path: 'tarballs/%61pp/1.0.0.tgz', data },
    { path: 'packuments/a/b.json.gz', data },
    { path: 'tarballs/%zz/1.0.0.tgz', data },
    { path: 'link', data: Buffer.alloc(0), type: 'SymbolicLink' },
    { path: 'folder/', data: Buffer.alloc(0), type: 'Directory' },
  ]
  const { cwd, run } = await siteWith(t, {
    settings: 'limits: { attestations: 1KiB, packument: 1KiB }',
  })
  const importing = async (bytes: Buffer) => {
    await writeFile(join(cwd, 'a.tar'), bytes)
    return run('import', 'a.tar')
  }
  t.match(await importing(tarOf(odd)), { code: 0, stdout: /^0 admitted.*; 9 entries ignored/ })
  await t.rejects(stat(join(cwd, '../../outside')))
  await t.rejects(stat(join(cwd, 'link')))

  const bad = { code: 2, stderr: /EARCHIVE/ }
  const two: Entry = { path: 'tarballs/a/1.0.0.tgz', data }
  t.match(await importing(tarOf([first, two, two])), bad, 'twice')
  t.match(await importing(tarOf([two])), bad, 'no contents')
  t.match(await importing(tarOf([{ ...first, data: Buffer.from('{') }])), bad)
  t.match(await importing(tarOf([{ ...first, data: Buffer.from('{"format":2}') }])), bad)
  t.match(await importing(Buffer.from('x'.repeat(2048))), bad, 'no tar file')
  t.match(await importing(Buffer.alloc(0)), bad)
  t.match(await importing(tarOf([first]).subarray(0, -1024)), bad, 'its end is missing')
  t.match(await importing(tarOf([first], { size: 2 ** 33 })), bad, 'longer than the file')
  const large: Entry = { path: 'attestations/a/1.0.0.json', data: Buffer.alloc(1025) }
  t.match(await importing(tarOf([first, large])), bad, 'larger than limits allow')
  const bomb: Entry = { path: 'packuments/a.json.gz', data: gzipSync(Buffer.alloc(500_000)) }
  const named = { ...contents, packages: [{ name: 'a', upstream: 'npm', fetchedAt: 1 }] }
  const naming: Entry = { ...first, data: Buffer.from(JSON.stringify(named)) }
  t.match(
    await importing(tarOf([naming, bomb])),
    { code: 2, stdout: /a: failed: EARCHIVE/ },
    'a bomb',
  )
  t.match(await run('import', 'none.tar'), bad)
  t.match(await run('import'), { code: 2, stderr: /EUSAGE/ })
})

t.test('long work shows on a terminal how far it is', async t => {
  const site = await siteWith(t)
  const file = join(home.cwd, 'shown.tar')
  for (const [cwd, title, ...argv] of [
    [home.cwd, 'writing', 'export', file],
    [home.cwd, 'hashing', 'scrub'],
    [site.cwd, 'verifying', 'import', file],
  ] as const) {
    const { code, stderr } = await runCli(['store', ...argv], { cwd, columns: 80 })
    t.ok(code < 2, stderr)
    t.match(stderr, new RegExp(`${title}  .*[1-9]/[1-9]`), argv[0])
    t.ok(stderr.endsWith('\r\u001b[K'), 'and is gone')
    t.equal((await runCli(['store', ...argv], { cwd })).stderr, '', 'not in a pipe')
  }
  await rm(file)
})

t.test('stats, scrub and gc', async t => {
  const { cwd, run } = home
  const stats = JSON.parse((await run('stats', '--json')).stdout) as {
    blobs: number
    bytes: number
  }
  t.match(stats, { packages: 3, admitted: 4, tokens: 0, blobs: 7 })
  t.match((await run('stats')).stdout, /^packages +3 /)
  t.match(await run('scrub'), { code: 0, stdout: /^7 blobs checked, .*; 0 damaged\.\n$/ })

  const folder = join(cwd, 'store/blobs/sha512')
  const files = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
  const sizes = await Promise.all(files.map(async file => (await stat(file)).size))
  for (const wanted of [Math.max(...sizes), Math.min(...sizes)]) {
    const file = files[sizes.indexOf(wanted)] ?? ''
    const bytes = await readFile(file)
    bytes[10] = (bytes[10] ?? 0) ^ 1
    await writeFile(file, bytes)
  }
  const found = await run('scrub', '--json')
  t.equal(found.code, 1)
  t.equal((JSON.parse(found.stdout) as { damaged: object[] }).damaged.length, 2)
  t.match(await run('scrub'), { code: 0, stdout: /^5 blobs checked/ }, 'they are gone')

  t.match(await run('gc'), { code: 0, stdout: '0 removed, 0 B freed.\n' })
  await mkdir(join(cwd, 'small'), { recursive: true })
  const settings = await readFile(join(cwd, 'attestry.yaml'), 'utf8')
  await writeFile(
    join(cwd, 'small/attestry.yaml'),
    settings.replace(/(storage:\n)/, '$1  maxSize: 1MiB\n').replaceAll('./', '../'),
  )
  t.match(await run('gc', '-c', 'small/attestry.yaml'), { code: 0, stdout: /^\d+ removed/ })
  for (const part of ['stats', 'gc', 'scrub', 'export', 'import'])
    t.match(await run(part, '--help'), { code: 0, stdout: /Usage:/ })
  t.match(await run('grow'), { code: 2, stderr: /EUSAGE/ })
  await rm(join(cwd, 'all.tar'), { force: true })
})
