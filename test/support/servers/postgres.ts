/** A PostgreSQL server of our own on loopback, from Debian's package; `undefined` where it is not installed. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import postgres from 'postgres'
import { freePort } from './free-port.ts'

export type PostgresServer = {
  readonly url: string
  readonly port: number
  /** Ends it as an operator does: clients are disconnected. */
  stop(): Promise<void>
  start(): Promise<void>
  /** The processes stop where they are, with every connection open. */
  freeze(): void
  thaw(): void
  /** One statement, as its owner, however read-only it is. */
  query(text: string): Promise<readonly Record<string, unknown>[]>
  /** Where its tables are. */
  readonly data: string
  /** A file beside them, that it alone may read. */
  write(name: string, text: string): void
  /** Ends it as a power cut does. */
  kill(): Promise<void>
  /** Another server that follows this one, under the name `standby`. */
  standby(): Promise<PostgresServer & { promote(): Promise<void> }>
  close(): Promise<void>
}

const debian = '/usr/lib/postgresql'

/** Where the server's programs are; `undefined` where there are none. */
export const postgresPrograms = (): string | undefined => {
  const versions = existsSync(debian) ? readdirSync(debian) : []
  return versions
    .map(version => join(debian, version, 'bin'))
    .findLast(folder => existsSync(join(folder, 'initdb')))
}

/** It refuses to run as root, so where we are root it runs as its package's own user. */
const userOf = (): { uid: number; gid: number } | undefined => {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string) =>
    Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout)
  return { uid: id('-u'), gid: id('-g') }
}

/** A folder of its own, and how programs are run in it. */
const openPlace = (programs: string) => {
  const folder = mkdtempSync(join(tmpdir(), 'attestry-postgres-'))
  const user = userOf()
  if (user) chownSync(folder, user.uid, user.gid)
  const options = {
    ...user,
    cwd: folder,
    env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' },
  }
  const run = (program: string, ...args: string[]): void => {
    const made = spawnSync(join(programs, program), args, { ...options, encoding: 'utf8' })
    if (made.status !== 0) throw new Error(`${program}: ${made.stderr}`)
  }
  return { programs, folder, data: join(folder, 'data'), options, run }
}

const openServer = async (
  { programs, folder, data, options }: ReturnType<typeof openPlace>,
  settings: readonly string[],
): Promise<PostgresServer> => {
  const port = await freePort()
  const url = `postgres://attestry@127.0.0.1:${port}/postgres`
  const all = ['listen_addresses=127.0.0.1', `unix_socket_directories=${folder}`, ...settings]
  let server: ChildProcess | undefined

  const answers = async (): Promise<boolean> => {
    const sql = postgres(url, { max: 1, connect_timeout: 2, onnotice: () => undefined })
    try {
      await sql`SELECT 1`
      return true
    } catch {
      return false
    } finally {
      await sql.end({ timeout: 1 })
    }
  }
  const start = async () => {
    server = spawn(
      join(programs, 'postgres'),
      ['-D', data, '-p', String(port), ...all.flatMap(line => ['-c', line])],
      { ...options, stdio: ['ignore', 'ignore', 'ignore'] },
    )
    for (let tries = 0; tries < 300; tries++) {
      if (await answers()) return
      await pause(50)
    }
    throw new Error('PostgreSQL does not start')
  }
  const ended = () => !server || server.exitCode !== null || server.signalCode !== null
  const stop = async () => {
    if (ended()) return
    const exited = once(server as ChildProcess, 'exit')
    server?.kill('SIGINT')
    await exited
  }
  /** The server and the process of each connection. */
  const signalAll = (signal: NodeJS.Signals) => {
    if (ended()) return
    const parent = String(server?.pid ?? '')
    const { stdout } = spawnSync('pgrep', ['-P', parent], { encoding: 'utf8' })
    for (const pid of [parent, ...stdout.split('\n')]) {
      try {
        if (pid !== '') process.kill(Number(pid), signal)
      } catch {
        // it has ended by itself
      }
    }
  }
  const query = async (text: string) => {
    const sql = postgres(url, { max: 1, onnotice: () => undefined })
    try {
      await sql`SET default_transaction_read_only = off`
      return Array.from(await sql.unsafe(text))
    } finally {
      await sql.end()
    }
  }

  // a test that fails as a whole leaves nothing running
  process.once('exit', () => signalAll('SIGKILL'))
  await start()
  return {
    url,
    port,
    data,
    write: (name, text) => {
      const file = join(data, name)
      writeFileSync(file, text, { mode: 0o600 })
      if (options.uid !== undefined && options.gid !== undefined)
        chownSync(file, options.uid, options.gid)
    },
    start,
    stop,
    query,
    freeze: () => signalAll('SIGSTOP'),
    thaw: () => signalAll('SIGCONT'),
    kill: async () => {
      if (ended()) return
      const exited = once(server as ChildProcess, 'exit')
      signalAll('SIGKILL')
      await exited
    },
    standby: async () => {
      const place = openPlace(programs)
      const from = `host=127.0.0.1 port=${port} user=attestry application_name=standby`
      place.run('pg_basebackup', '-D', place.data, '-R', '-c', 'fast', '-d', from)
      const follower = await openServer(place, settings)
      return {
        ...follower,
        promote: async () => void (await follower.query('SELECT pg_promote(true, 60)')),
      }
    },
    close: async () => {
      signalAll('SIGCONT')
      await stop()
      // of its own file system
      spawnSync('umount', [data])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export type PostgresOptions = {
  /** MiB of a file system that holds its tables, but not its write-ahead log; only root can have that. */
  readonly room?: number
}

/** `settings`: lines of postgresql.conf, as `name=value`. */
export const startPostgres = async (
  settings: readonly string[] = [],
  { room }: PostgresOptions = {},
): Promise<PostgresServer | undefined> => {
  const programs = postgresPrograms()
  if (programs === undefined) return undefined
  const place = openPlace(programs)
  const { folder, data, options, run } = place
  if (room !== undefined) {
    mkdirSync(data)
    const owner = `uid=${options.uid},gid=${options.gid},mode=700`
    const { status } = spawnSync(
      'mount',
      `-t tmpfs -o size=${room}m,${owner} tmpfs ${data}`.split(' '),
    )
    if (status !== 0) return undefined
  }
  const log = join(folder, 'log')
  run('initdb', ...`-D ${data} -X ${log} -A trust -U attestry -E UTF8 -N`.split(' '))
  return openServer(place, settings)
}
