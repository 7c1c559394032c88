/**
 * A small load balancer: turn by turn among the instances that say they are ready, or among all where
 * none does. It tells an instance in the user agent which one it is.
 */
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Balancer = {
  /** Ends with a slash. */
  readonly url: string
  readonly ready: () => readonly string[]
  close(): void
}

const looks = 200

export const startBalancer = async (
  instances: readonly { readonly name: string; readonly port: number }[],
): Promise<Balancer> => {
  const ready = new Set<string>()
  let turn = 0
  const look = async ({ name, port }: { name: string; port: number }) => {
    const answer = await fetch(`http://127.0.0.1:${port}/-/attestry/health/ready`, {
      signal: AbortSignal.timeout(2000),
    }).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok) ready.add(name)
    else ready.delete(name)
  }
  const timer = setInterval(() => void Promise.all(instances.map(look)), looks)
  await Promise.all(instances.map(look))

  const server = createServer((asked, answer) => {
    const able = instances.filter(({ name }) => ready.has(name))
    const among = able.length > 0 ? able : instances
    const chosen = among[turn++ % among.length]
    const passed = request(
      {
        port: chosen?.port,
        host: '127.0.0.1',
        path: asked.url,
        method: asked.method,
        headers: { ...asked.headers, 'user-agent': chosen?.name ?? '' },
      },
      from => {
        answer.writeHead(from.statusCode ?? 502, {
          ...from.headers,
          'x-instance': chosen?.name ?? '',
        })
        from.pipe(answer)
        // half an answer must not look like a whole one
        from.on('aborted', () => answer.destroy())
        from.on('error', () => answer.destroy())
      },
    )
    passed.on('error', () => {
      if (answer.headersSent) answer.destroy()
      else answer.writeHead(502).end()
    })
    asked.pipe(passed)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/`,
    ready: () => [...ready],
    close: () => {
      clearInterval(timer)
      server.closeAllConnections()
      server.close()
    },
  }
}
