/**
 * A private registry behind Attestry: everything people do with it gives the same results as at the
 * registry itself. One verdaccio is asked directly, another one through Attestry, by the same story.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  installClients,
  openProject,
  type ClientName,
  type Project,
} from '../support/clients.ts'
import { runCli } from '../cli/console.ts'
import type { Json } from '../support/json.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy } from '../support/proxy.ts'
import { startRecorder } from '../support/recorder.ts'
import { startRegistry } from '../support/registry.ts'
import { installVerdaccio, startVerdaccio } from '../support/verdaccio.ts'

type Step = { readonly step: string; readonly code: number | null; readonly output: string }

const [clients, verdaccio] = [await installClients(), await installVerdaccio()]
const missing = [clients, verdaccio].find(({ kind }) => kind === 'missing')

const password = 'correct horse battery staple'
const login = (name: string) =>
  [
    [/Username:$/, name],
    [/Password:$/, password],
  ] as const

/** What differs between two places, and between two moments. */
const plain = (text: string, url: string) =>
  text
    .replaceAll(url, 'REGISTRY/')
    .replaceAll(url.slice(0, -1), 'REGISTRY')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replaceAll(/\b(a few|an?|\d+) (milli)?seconds? ago\b|\bjust now\b/g, 'AGO')
    .replaceAll(/\b[\d.]+m?s\b/g, 'TIME')
    .replaceAll(/-rev\/\d+-[0-9a-f]+/g, '-rev/REV')
    .replaceAll(/[^\s"']*_logs[^\s"']*/g, 'LOG')
    // verdaccio has no audits by itself, Attestry always has
    .replace(/, and audited \d+ packages/, '')
    .replace(/found 0 vulnerabilities\s*/, '')
    // each says in its own words that something is not there
    .replaceAll(/^(npm error 404) .* - GET .*$/gm, '$1 NOT FOUND')
    .trim()

/** What anybody does with a private registry; each step is told by its exit code and output. */
const story = async (client: ClientName, url: string): Promise<readonly Step[]> => {
  if (clients.kind === 'missing') throw new Error(clients.reason)
  const steps: Step[] = []
  const open = async (dependencies: Record<string, string> = {}): Promise<Project> => {
    const project = await openProject(clients, client, url, dependencies)
    await writeFile(join(project.cwd, '.npmrc'), `registry=${url}\nfund=false\n`)
    return project
  }
  const work = await open()
  const tell = async (step: string, run: ReturnType<Project['run']>) => {
    const { code, output } = await run
    steps.push({ step, code, output: plain(output, url) })
  }
  const npm = (...args: string[]) =>
    tell(args.join(' ').replaceAll(work.cwd, '.'), work.run(args))
  const pack = async (name: string, version: string, size = 0) => {
    const folder = join(work.cwd, `pack-${version}`)
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'package.json'), JSON.stringify({ name, version }))
    await writeFile(join(folder, 'index.js'), `module.exports = ${JSON.stringify(version)}\n`)
    // grows little when packed, much as text
    if (size > 0)
      await writeFile(join(folder, 'data.txt'), '0123456789abcdef'.repeat(size / 16))
    return folder
  }

  await npm('whoami')
  await npm('publish', await pack('@acme/lib', '0.9.0'))
  await tell('login', work.run(['login', '--auth-type=legacy'], login('ana')))
  await npm('whoami')
  await npm('publish', await pack('@acme/lib', '1.0.0'))
  await npm('view', '@acme/lib', 'versions', 'dist-tags', '--json')
  await npm('publish', await pack('@acme/lib', '1.1.0', 8_000_000))
  await npm('publish', await pack('@acme/lib', '1.1.0'))
  await npm('publish', '--tag', 'next', await pack('@acme/lib', '2.0.0-rc.1'))
  await npm('dist-tag', 'ls', '@acme/lib')
  await npm('dist-tag', 'add', '@acme/lib@1.0.0', 'stable')
  await npm('dist-tag', 'rm', '@acme/lib', 'next')
  await npm('dist-tag', 'ls', '@acme/lib')
  await npm('deprecate', '@acme/lib@1.0.0', 'use 1.1.0')
  await npm('view', '@acme/lib@1.0.0', 'name', 'version', 'deprecated', 'dist.shasum')
  const document = (await (await fetch(`${url}@acme%2flib`)).json()) as Json
  const versions = Object.entries(document['versions'] as Json).map(([version, manifest]) => {
    const { dist, deprecated, _npmUser } = manifest as Json
    return [version, dist.integrity, dist.shasum, dist.tarball, deprecated, _npmUser]
  })
  const shown = JSON.stringify([versions, document['dist-tags']])
  steps.push({ step: 'packument', code: 0, output: plain(shown, url) })
  for (const line of [
    'access get status @acme/lib',
    'access list collaborators @acme/lib',
    'access set status=private @acme/lib',
    'owner ls @acme/lib',
    'owner add bo @acme/lib',
    'profile get --json',
    'token list',
    'team ls @acme:developers',
  ])
    await npm(...line.split(' '))
  await npm('search', '@acme/lib', '--json', '--searchstaleness=0')
  await npm('search', 'nothing-of-the-kind')
  await npm('ping')

  const project = await open({ '@acme/lib': '^1.0.0' })
  await tell('install', project.install())
  steps.push({ step: 'installed', code: 0, output: (await project.installed()).join(' ') })
  await tell('frozen', project.installFrozen())

  await npm('unpublish', '@acme/lib@1.1.0')
  await npm('view', '@acme/lib', 'versions', 'dist-tags', '--json')
  await tell('install unpublished', project.run(['install', '@acme/lib@1.1.0']))
  await npm('unpublish', '@acme/lib', '--force')
  await npm('view', '@acme/lib')
  await npm('logout')
  await npm('whoami')
  await Promise.all([work.remove(), project.remove()])
  return steps
}

if (missing?.kind === 'missing' || clients.kind === 'missing' || verdaccio.kind === 'missing') {
  t.plan(0, missing?.kind === 'missing' ? missing.reason : 'something is not installed')
} else {
  const sigstore = await localSigstore()
  const open1 = await startRegistry({ sigstore })
  const [direct, behind] = await Promise.all([
    startVerdaccio(verdaccio.folder),
    startVerdaccio(verdaccio.folder),
  ])
  const keys = await mkdtemp(join(tmpdir(), 'attestry-keys-'))
  const made = await runCli(['keys', 'create', '--folder', 'keys'], { cwd: keys })
  if (made.code !== 0) throw new Error(made.stderr)
  const unsigned: string[] = []
  const proxy = await startProxy({
    upstream: open1.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    upstreams: [
      `acme: { url: "${behind.url}", registryKeys: none, packages: ['@acme/*'], passThrough: write, clientCredentials: forward, signing: { keys: "${keys}/keys" } }`,
    ],
    observer: { onUnsigned: (id, _, why) => void unsigned.push(`${id}: ${why}`) },
  })
  t.teardown(async () => {
    await proxy.close()
    await rm(keys, { recursive: true })
    await Promise.all([direct.close(), behind.close(), open1.close(), sigstore.close()])
  })

  t.test('npm, directly and through Attestry', async t => {
    const [wanted, found] = await Promise.all([
      story('npm12', direct.url),
      story('npm12', proxy.url),
    ])
    t.ok(wanted.length > 25)
    for (const [i, step] of wanted.entries()) t.strictSame(found[i], step, step.step)
    const codes = Object.fromEntries(wanted.map(({ step, code }) => [step, code]))
    t.match(codes, { login: 0, install: 0, frozen: 0, installed: 0, ping: 0 })
    t.notMatch(open1.requests.map(({ path }) => path).join(), 'acme')
    t.strictSame(unsigned, [])
  })

  // verdaccio has none, so that npm goes on to name and password there
  t.test('npm logs in on the web', async t => {
    const site = await startRecorder('/npm/')
    const through = await startProxy({
      upstream: site.url,
      trustedRoot: sigstore.trustedRoot,
      registryKeys: 'none',
      upstreamSettings: ['passThrough: write', 'clientCredentials: forward'],
    })
    t.teardown(() => Promise.all([through.close(), site.close()]))
    const page = 'https://registry.example/login/abc'
    site.on(/^POST .*login$/, {
      body: { loginUrl: page, doneUrl: `${site.url}-/v1/done?id=7` },
    })
    const polled = () => site.asked().filter(line => line === 'GET /npm/-/v1/done?id=7').length
    site.on(/done/, () =>
      polled() < 2
        ? { status: 202, headers: { 'retry-after': '1' } }
        : { body: { token: 'NEW' } },
    )
    site.on(/whoami/, ({ headers }) => ({ body: { username: headers.authorization } }))
    const project = await openProject(clients, 'npm12', through.url)
    t.teardown(() => project.remove())
    const { code, output } = await project.run(['login', '--auth-type=web', '--browser=false'])
    t.equal(code, 0, output)
    t.match(output, page, 'people go to the site itself')
    t.equal(polled(), 2)
    t.match((await project.run(['whoami'])).output, 'Bearer NEW')
  })
}
