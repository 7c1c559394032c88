/**
 * Internal packages: published with npm through Attestry to verdaccio, which signs nothing, and
 * verified by npm and pnpm with the keys that Attestry serves.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runCli } from '../cli/console.ts'
import { installClients, openProject, type ClientName } from '../support/clients.ts'
import type { Json } from '../support/json.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type Proxy } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { trustingNpm } from '../support/trusting-npm.ts'
import { installVerdaccio, startVerdaccio } from '../support/verdaccio.ts'

const [clients, verdaccio] = [await installClients(), await installVerdaccio()]
const password = 'correct horse battery staple'

const policy = `version: 1
rules:
  - name: ours, published through Attestry
    packages: ["@acme/*"]
    upstream: acme
    require: { registrySignature: required }
`

/** Passes everything on to `to()`, which may change; `change` is what somebody on the way does. */
const startWay = async (to: () => Proxy | undefined) => {
  let edit: ((dist: Json) => void) | undefined
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { authorization, accept } = request.headers
      const body = Buffer.concat(chunks)
      const asked = fetch(`http://127.0.0.1:${to()?.port}${request.url}`, {
        method: request.method ?? 'GET',
        headers: {
          ...(authorization !== undefined && { authorization }),
          ...(accept !== undefined && { accept }),
          ...(body.length > 0 && { 'content-type': 'application/json' }),
        },
        ...(body.length > 0 && { body }),
      })
      const passed = asked.then(async answer => {
        let bytes = Buffer.from(await answer.arrayBuffer())
        if (edit && request.url?.startsWith('/@acme') && !request.url.includes('/-/')) {
          const packument = JSON.parse(bytes.toString('utf8')) as Json
          edit((packument['dist'] ?? packument['versions']['1.0.0'].dist) as Json)
          bytes = Buffer.from(JSON.stringify(packument))
        }
        const type = answer.headers.get('content-type') ?? 'application/json'
        const notice = answer.headers.get('npm-notice')
        response
          .writeHead(answer.status, {
            'content-type': type,
            ...(notice !== null && { 'npm-notice': notice }),
          })
          .end(bytes)
      })
      passed.catch(() => response.destroy())
    })
  })
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/`,
    change: (next: typeof edit) => void (edit = next),
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** Another character in its place, as in one that is damaged; base64 stays base64. */
const damage = (text: string) => {
  const at = Math.floor(text.length / 2)
  return `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`
}

if (clients.kind === 'missing' || verdaccio.kind === 'missing') {
  t.plan(0, clients.kind === 'missing' ? clients.reason : 'verdaccio is not installed')
} else {
  const folder = t.testdir({})
  const keys = (...argv: string[]) =>
    runCli(['keys', ...argv, '--folder', 'keys'], { cwd: folder })
  t.equal((await keys('create')).code, 0)
  const sigstore = await localSigstore()
  const registry = await startRegistry({ sigstore })
  await registry.publish({ name: 'leaf', version: '1.0.0' })
  const acme = await startVerdaccio(verdaccio.folder)
  let proxy: Proxy | undefined
  const way = await startWay(() => proxy)
  const start = async () => {
    await proxy?.close()
    proxy = await startProxy({
      upstream: registry.url,
      trustedRoot: sigstore.trustedRoot,
      registryKeys: sigstore.registryKeys(),
      policies: [policy],
      storage: join(folder, 'store'),
      upstreams: [
        `acme: { url: "${acme.url}", registryKeys: none, packages: ['@acme/*'], passThrough: write, clientCredentials: forward, signing: { keys: "${folder}/keys" } }`,
      ],
      settings: `publicUrl: ${way.url}`,
    })
  }
  await start()
  t.teardown(async () => {
    way.close()
    await proxy?.close()
    await Promise.all([acme.close(), registry.close(), sigstore.close()])
  })
  const user = await fetch(`${way.url}-/user/org.couchdb.user:ana`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'ana', password }),
  })
  const { token } = (await user.json()) as { token: string }

  const publish = async (t: Test, name: string) => {
    const project = await openProject(clients, 'npm12', way.url)
    t.teardown(() => project.remove())
    const packed = join(project.cwd, 'packed')
    await mkdir(packed)
    const host = way.url.replace('http:', '')
    await writeFile(
      join(project.cwd, '.npmrc'),
      `registry=${way.url}\n${host}:_authToken=${token}\n`,
    )
    const manifest = { name, version: '1.0.0', license: 'MIT' }
    await writeFile(join(packed, 'package.json'), JSON.stringify(manifest))
    const run = await project.run(['publish', packed])
    t.equal(run.code, 0, run.output)
    return run.output
  }
  const tuf = await sigstore.tuf()
  const programs = new Map<ClientName, string>()
  for (const client of ['npm11', 'npm12'] as const) {
    const installed = join(clients.folder, 'node_modules', client)
    programs.set(client, await trustingNpm(installed, join(folder, client), tuf))
  }
  /** A project with these packages installed, and its audit. */
  const open = async (t: Test, client: ClientName, names: readonly string[]) => {
    const dependencies = Object.fromEntries(names.map(name => [name, '1.0.0']))
    const project = await openProject(clients, client, way.url, dependencies)
    t.teardown(() => project.remove())
    const installed = await project.install()
    t.equal(installed.code, 0, installed.output)
    const args = ['audit', 'signatures']
    const program = programs.get(client)
    return {
      cwd: project.cwd,
      audit: () =>
        program === undefined ? project.run(args) : project.runScript(program, args),
    }
  }
  const names = ['npm11', 'npm12', 'pnpm11', 'pnpm12'] as const

  t.test('green, and red when one character differs', async t => {
    t.notMatch(await publish(t, '@acme/lib'), /not signed/)
    for (const client of names) {
      const { cwd, audit } = await open(t, client, ['leaf', '@acme/lib'])
      const green = await audit()
      t.equal(green.code, 0, `${client}: ${green.output}`)
      t.match(green.output, /2 packages have verified registry signatures/, client)

      way.change(dist => (dist['signatures'][0].sig = damage(dist['signatures'][0].sig)))
      const forged = await audit()
      t.not(forged.code, 0, `${client}: ${forged.output}`)
      t.match(forged.output, /1 package has an invalid registry signature/, client)
      way.change(undefined)

      const lock = join(cwd, 'pnpm-lock.yaml')
      if (client.startsWith('npm'))
        way.change(dist => (dist['integrity'] = damage(dist['integrity'])))
      // pnpm verifies what its lockfile has
      else {
        const text = await readFile(lock, 'utf8')
        await writeFile(
          lock,
          text.replace(
            /(@acme\/lib@1\.0\.0':\s+resolution: \{integrity: )([^,}]+)/,
            (_, head, sri) => `${head}${damage(sri)}`,
          ),
        )
        t.not(await readFile(lock, 'utf8'), text)
      }
      const changed = await audit()
      t.not(changed.code, 0, `${client}: ${changed.output}`)
      t.match(changed.output, /1 package has an invalid registry signature/, client)
      way.change(undefined)
    }
  })

  t.test('another key: what the old one signed stays green, the new one signs', async t => {
    t.equal((await keys('rotate', '--overlap', '1s')).code, 0)
    await start()
    await publish(t, '@acme/later')
    const keyOf = async (name: string): Promise<string> => {
      const manifest = (await (await fetch(`${way.url}${name}/1.0.0`)).json()) as Json
      return manifest['dist'].signatures[0].keyid
    }
    const [first, second] = [await keyOf('@acme/lib'), await keyOf('@acme/later')]
    const served = (await (await fetch(`${way.url}-/npm/v1/keys`)).json()) as { keys: Json[] }
    t.match(served.keys.slice(0, 2), [
      { keyid: first, expires: /Z$/ },
      { keyid: second, expires: null },
    ])
    t.not(first, second)
    for (const client of ['npm12', 'pnpm12'] as const) {
      const run = await (await open(t, client, ['@acme/lib', '@acme/later', 'leaf'])).audit()
      t.equal(run.code, 0, `${client}: ${run.output}`)
      t.match(run.output, /3 packages have verified registry signatures/, client)
    }
  })
}
