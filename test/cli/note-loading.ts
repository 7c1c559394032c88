/**
 * Loaded into a server (`--import`): notes every file that is loaded, and when the server forks and
 * listens, one a line, in a file for each process in the folder NOTES.
 */
import cluster from 'node:cluster'
import { appendFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { Server } from 'node:net'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'

const name = cluster.isPrimary ? 'first' : `worker-${cluster.worker?.id}`
const note = (line: string) =>
  appendFileSync(join(process.env['NOTES'] ?? '', name), `${line}\n`)

/** `node:http` brings fetch's client along when it is imported, and only then. */
const loadedByNode = () =>
  (process as unknown as { moduleLoadList: readonly string[] }).moduleLoadList

if (isMainThread) {
  registerHooks({
    load: (url, context, next) => {
      note(url)
      return next(url, context)
    },
  })
  // oxlint-disable-next-line typescript/unbound-method -- called with its own `this`
  const { listen } = Server.prototype
  Server.prototype.listen = function (this: Server, ...args: unknown[]) {
    if (loadedByNode().some(each => each.endsWith(' internal/deps/undici/undici')))
      note('fetch')
    note('listen')
    return Reflect.apply(listen, this, args) as Server
  } as typeof listen
  if (cluster.isPrimary) {
    const fork = cluster.fork.bind(cluster)
    cluster.fork = environment => {
      note('fork')
      return fork(environment)
    }
  }
}
