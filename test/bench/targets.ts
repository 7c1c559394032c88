/** Everything that is measured, behind one interface: the upstream itself, Attestry and its peers. */
import { mkdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { writeSettings } from '../support/proxy.ts'
import { hasProc, memoryOf } from './machine.ts'
import { findPeers, type Peer } from './peers.ts'
import { freePort, startServer, type RunningServer } from './servers.ts'
import type { RunningUpstream } from './start-upstream.ts'

export type Target = {
  readonly name: string
  readonly note: string
  /** Without a slash at its end; changes with every start. */
  readonly url: () => string
  readonly pid: () => number
  /** Stops it and starts it again, with nothing kept where `cold`; milliseconds to the first answer. */
  readonly restart?: (cold: boolean) => Promise<number>
  /** The running process; Attestry's takes messages of probe.ts. */
  readonly server: () => RunningServer | undefined
  readonly stop: () => Promise<void>
  /** Highest sum of resident memory seen when it was stopped, and of the largest process, MB. */
  readonly peak: () => {
    readonly sum: number
    readonly largest: number
    /** What the largest process had when it was stopped last. */
    readonly last: number
  }
}

const bin = fileURLToPath(new URL('../../bin/attestry.ts', import.meta.url))
const probe = new URL('./probe.ts', import.meta.url).href

/** As `npm start`, the systemd unit and the image start it. */
const flags = ['--max-semi-space-size=8']
const { NODE_COMPILE_CACHE, XDG_CACHE_HOME } = process.env
const compiled =
  NODE_COMPILE_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'attestry')

/** `alone`: one process, to be looked into; else as many as there are processors. */
const attestry = (upstream: RunningUpstream, alone = false): Peer => ({
  name: alone ? 'attestry, one process' : 'attestry',
  note: `from its sources on Node ${process.versions.node}, ${alone ? 'cluster.workers: 1' : 'cluster.workers: auto'}, baseline policy, everything verified`,
  prepare: async folder => {
    const file = await writeSettings(folder, {
      upstream: `${upstream.url}/`,
      trustedRoot: upstream.trustedRoot,
      registryKeys: upstream.registryKeys,
      settings: `cache: { packumentTtl: 30m }\ncluster: { workers: ${alone ? 1 : 'auto'} }`,
    })
    const address = `127.0.0.1:${await freePort()}`
    return {
      command: process.execPath,
      args: [...flags, '--import', probe, bin, 'serve', '--config', file, '--listen', address],
      cwd: folder,
      url: `http://${address}`,
      env: { MALLOC_ARENA_MAX: '2', NODE_COMPILE_CACHE: compiled },
      log: join(folder, 'output.log'),
      ipc: true,
    }
  },
})

const started = (peer: Peer, root: string): Target => {
  const place = join(root, peer.name.replaceAll(/\W+/g, '-'))
  let places = 0
  let url = ''
  let server: RunningServer | undefined
  let peak = { sum: 0, largest: 0, last: 0 }
  const stop = async () => {
    if (server && hasProc) {
      const { peak: sum, largest, largestNow } = memoryOf(server.pid)
      peak = {
        sum: Math.max(peak.sum, sum),
        largest: Math.max(peak.largest, largest),
        last: largestNow,
      }
    }
    await server?.stop()
    server = undefined
  }
  let command: Awaited<ReturnType<Peer['prepare']>> | undefined
  return {
    name: peer.name,
    note: peer.note,
    url: () => url,
    pid: () => server?.pid ?? 0,
    server: () => server,
    peak: () => peak,
    stop,
    restart: async cold => {
      await stop()
      if (cold || command === undefined) {
        // another each time: ext4 without a journal does not use what was just deleted for a minute or
        // more, and who makes a file meanwhile searches past it (0.3 ms and more for each)
        const folder = `${place}-${++places}`
        await mkdir(folder, { recursive: true })
        command = await peer.prepare(folder)
      }
      server = await startServer(command)
      url = command.url
      return server.startup
    },
  }
}

const direct = (upstream: RunningUpstream): Target => ({
  name: 'direct',
  note: 'the upstream itself: finished bytes in one Node process',
  url: () => upstream.url,
  pid: () => upstream.pid,
  server: () => undefined,
  peak: () => ({ sum: Number.NaN, largest: Number.NaN, last: Number.NaN }),
  stop: () => Promise.resolve(),
})

/** `say` is told what is left out. */
export const openTargets = async (
  upstream: RunningUpstream,
  peers: readonly string[],
  folder: string,
  say: (line: string) => void,
): Promise<readonly Target[]> => {
  const found = await findPeers(peers, upstream.url)
  const present = found.flatMap(peer => {
    if ('prepare' in peer) return [peer]
    say(`${peer.name} is left out: ${peer.reason}`)
    return []
  })
  return [direct(upstream), ...[attestry(upstream), ...present].map(p => started(p, folder))]
}

/** Attestry in one process, for suites that look into it. */
export const aloneTarget = (upstream: RunningUpstream, folder: string): Target =>
  started(attestry(upstream, true), folder)
