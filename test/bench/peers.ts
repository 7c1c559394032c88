/**
 * Who is measured beside Attestry, and how each is started. What is not on this machine is left
 * out with a reason; Verdaccio and pnpr are installed once by npm into a shared folder of the
 * system's temporary directory. All keep packuments for 30 minutes.
 */
import { createHash } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCommand } from '../support/clients.ts'
import { nginxSettings } from './nginx.ts'
import { freePort, type Command } from './servers.ts'

/** `folder` is empty at first and wiped before every cold start. */
export type Prepare = (folder: string) => Promise<Command>

export type Peer = {
  readonly name: string
  readonly note: string
  readonly prepare: Prepare
}

export type MissingPeer = { readonly name: string; readonly reason: string }

const versions = { verdaccio: '6.10.4', '@pnpm/pnpr': '0.1.0-alpha.8' }

const installed = (): string => {
  const key = createHash('sha256')
    .update(JSON.stringify([versions, process.platform, process.arch]))
    .digest('hex')
  return join(tmpdir(), `attestry-bench-${key.slice(0, 12)}`)
}

/** The folder that holds them, or why it cannot be had. */
const installPeers = async (): Promise<{ folder: string } | { reason: string }> => {
  const folder = installed()
  if (existsSync(join(folder, 'node_modules'))) return { folder }
  const staging = await mkdtemp(`${folder}-`)
  try {
    // one of their dependencies names a dist-tag that not every mirror has
    const overrides = { 'node-fetch': '2.6.7' }
    const manifest = { private: true, dependencies: versions, overrides }
    await writeFile(join(staging, 'package.json'), JSON.stringify(manifest))
    const args = 'install --ignore-scripts --no-audit --no-fund --no-package-lock'.split(' ')
    const run = await runCommand('npm', args, {
      cwd: staging,
      env: process.env,
      timeout: 240_000,
    })
    if (run.code !== 0) {
      const lines = run.stderr.split('\n').filter(line => line.startsWith('npm error'))
      return { reason: `npm could not install it: ${lines.slice(0, 2).join('; ')}` }
    }
    await rename(staging, folder)
    return { folder }
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

const nginx = (upstream: string): Peer | MissingPeer => {
  const name = 'nginx'
  try {
    execFileSync('nginx', ['-v'], { stdio: 'ignore' })
  } catch {
    return { name, reason: 'there is no nginx on this machine' }
  }
  return {
    name,
    note: 'proxy_cache, two workers; an inner tier rewrites and compresses once',
    prepare: async folder => {
      const [outer, inner] = [await freePort(), await freePort()]
      await mkdir(join(folder, 'temporary'))
      const settings = nginxSettings({ folder, upstream, outer, inner })
      await writeFile(join(folder, 'nginx.conf'), settings)
      return {
        command: 'nginx',
        args: ['-p', folder, '-c', 'nginx.conf', '-e', 'error.log'],
        cwd: folder,
        url: `http://127.0.0.1:${outer}`,
        log: join(folder, 'output.log'),
      }
    },
  }
}

const verdaccio = (upstream: string, modules: string): Peer => ({
  name: 'verdaccio',
  note: `Verdaccio ${versions.verdaccio} on Node ${process.versions.node}`,
  prepare: async folder => {
    const port = await freePort()
    const settings = {
      storage: join(folder, 'storage'),
      web: { enabled: false },
      auth: { htpasswd: { file: join(folder, 'htpasswd') } },
      uplinks: {
        up: {
          url: upstream,
          maxage: '30m',
          max_fails: 100,
          fail_timeout: '1s',
          agent_options: { keepAlive: true, maxSockets: 40, maxFreeSockets: 10 },
        },
      },
      packages: { '**': { access: '$all', proxy: 'up' } },
      middlewares: { audit: { enabled: false } },
      server: { keepAliveTimeout: 60 },
      log: { type: 'stdout', format: 'json', level: 'warn' },
    }
    // JSON is YAML
    await writeFile(join(folder, 'verdaccio.yaml'), JSON.stringify(settings))
    return {
      command: process.execPath,
      args: [
        join(modules, 'verdaccio', 'bin', 'verdaccio'),
        '-c',
        join(folder, 'verdaccio.yaml'),
        '-l',
        `127.0.0.1:${port}`,
      ],
      env: { NODE_ENV: 'production' },
      cwd: folder,
      url: `http://127.0.0.1:${port}`,
      log: join(folder, 'output.log'),
    }
  },
})

const pnpr = (upstream: string, modules: string): Peer | MissingPeer => {
  const name = 'pnpr'
  const program = join(modules, '@pnpm', `pnpr.${process.platform}-${process.arch}`, 'pnpr')
  if (!existsSync(program)) return { name, reason: 'it has no program for this platform' }
  return {
    name,
    note: `@pnpm/pnpr ${versions['@pnpm/pnpr']}`,
    prepare: async folder => {
      const port = await freePort()
      const url = `http://127.0.0.1:${port}`
      const settings = {
        storage: join(folder, 'storage'),
        cache: join(folder, 'cache'),
        resolver: { enabled: false },
        auth: { htpasswd: { file: join(folder, 'htpasswd'), max_users: -1 } },
        registries: { npm: { type: 'upstream', url: `${upstream}/`, public: true } },
        defaultRegistry: 'npm',
        log: { type: 'stdout', format: 'json', level: 'error' },
      }
      const file = join(folder, 'pnpr.yaml')
      await writeFile(file, JSON.stringify(settings))
      const place = ['--listen', `127.0.0.1:${port}`, '--public-url', url]
      return {
        command: program,
        args: ['-c', file, ...place, '--packument-ttl-secs', '1800'],
        env: { RUST_LOG: 'error' },
        cwd: folder,
        url,
        log: join(folder, 'output.log'),
      }
    },
  }
}

export const peerNames = ['nginx', 'verdaccio', 'pnpr'] as const

/** `upstream` without a slash at its end. */
export const findPeers = async (
  wanted: readonly string[],
  upstream: string,
): Promise<readonly (Peer | MissingPeer)[]> => {
  const packaged = wanted.some(name => name !== 'nginx') ? await installPeers() : undefined
  return wanted.map(name => {
    if (name === 'nginx') return nginx(upstream)
    if (packaged === undefined || 'reason' in packaged)
      return { name, reason: packaged?.reason ?? 'not wanted' }
    const modules = join(packaged.folder, 'node_modules')
    return name === 'pnpr' ? pnpr(upstream, modules) : verdaccio(upstream, modules)
  })
}
