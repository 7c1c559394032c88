/** verdaccio, a private registry that people use, on loopback with a storage of its own. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { installOnce } from './install.ts'
import { bareEnv } from './run.ts'

export const installVerdaccio = () =>
  installOnce('verdaccio', {
    dependencies: { verdaccio: '6.10.4' },
    // it asks for this one by a dist-tag, which not every mirror has
    overrides: { 'node-fetch': '2.7.0' },
  })

export type Verdaccio = {
  /** Ends with a slash. */
  readonly url: string
  close(): Promise<void>
}

const freePort = async (): Promise<number> => {
  const server = createServer()
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  await new Promise<void>(done => server.close(() => done()))
  return port
}

/** Everybody reads, who is logged in publishes and unpublishes; no uplinks. */
const config = (folder: string) => `
storage: ${JSON.stringify(join(folder, 'storage'))}
auth:
  htpasswd:
    file: ${JSON.stringify(join(folder, 'htpasswd'))}
    max_users: 100
uplinks: {}
packages:
  '**':
    access: $all
    publish: $authenticated
    unpublish: $authenticated
max_body_size: 100mb
log: { type: stdout, format: json, level: error }
`

const startTimeout = 30_000

export const startVerdaccio = async (installed: string): Promise<Verdaccio> => {
  const folder = await mkdtemp(join(tmpdir(), 'attestry-verdaccio-'))
  const file = join(folder, 'config.yaml')
  await writeFile(file, config(folder))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}/`
  const program = join(installed, 'node_modules', 'verdaccio', 'bin', 'verdaccio')
  const child = spawn(
    process.execPath,
    [program, '--config', file, '--listen', `127.0.0.1:${port}`],
    { cwd: folder, env: bareEnv(folder), stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4000)
    })
  const end = () => void child.kill('SIGKILL')
  process.once('exit', end)
  const exited = new Promise<void>(done => child.once('exit', () => done()))
  const close = async () => {
    end()
    await exited
    process.off('exit', end)
    await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  }
  for (const until = Date.now() + startTimeout; ; await sleep(100)) {
    const answer = await fetch(`${url}-/ping`).catch(() => undefined)
    if (answer?.ok) return { url, close }
    if (child.exitCode === null && Date.now() < until) continue
    await close()
    throw new Error(`verdaccio did not start: ${said}`)
  }
}
