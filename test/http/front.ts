/** Reverse proxies to put in front of the server: a small one of ours, and nginx where there is one. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, request as ask } from 'node:http'
import { createServer as portServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export type Front = { readonly port: number; close(): Promise<void> }

/** Passes everything on to `port`; a path below `strip` loses it. */
export const startFront = async (options: {
  readonly to: () => number
  readonly strip?: string
  /** What does not begin with this is somebody else's: 404. */
  readonly only?: string
  readonly headers?: Readonly<Record<string, string>>
}): Promise<Front> => {
  const { to, strip, only = '/', headers } = options
  const server = createServer((request, response) => {
    const url = request.url ?? '/'
    if (!url.startsWith(only)) {
      request.resume()
      response.writeHead(404).end()
      return
    }
    const path =
      strip !== undefined && url.startsWith(strip) ? `/${url.slice(strip.length)}` : url
    const out = ask(
      {
        host: '127.0.0.1',
        port: to(),
        method: request.method,
        path,
        headers: {
          ...request.headers,
          'x-forwarded-for': request.socket.remoteAddress ?? '',
          'x-forwarded-host': 'elsewhere.example',
          'x-forwarded-proto': 'https',
          ...headers,
        },
      },
      answer => {
        response.writeHead(answer.statusCode ?? 500, answer.statusMessage, answer.headers)
        answer.pipe(response)
      },
    )
    out.on('error', () => response.destroy())
    request.pipe(out)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  server.unref()
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

export const nginxProgram = (): string | undefined =>
  ['nginx', '/usr/sbin/nginx'].find(name => spawnSync(name, ['-v']).status === 0)

/** A port that was free a moment ago, for programs that must be told one. */
export const freePort = async (): Promise<number> => {
  const server = portServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Runs nginx with one `server { … }` block of these lines, until it answers. */
export const startNginx = async (
  program: string,
  port: number,
  lines: string,
): Promise<Front> => {
  const folder = await mkdtemp(join(tmpdir(), 'attestry-nginx-'))
  const file = join(folder, 'nginx.conf')
  const places = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map(name => `${name}_temp_path ${folder}/${name};`)
    .join(' ')
  await writeFile(
    file,
    `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log;
events {}
http { access_log off; ${places}
server { ${lines} } }
`,
  )
  const child = spawn(program, ['-c', file, '-p', folder, '-e', `${folder}/error.log`], {
    stdio: 'ignore',
  })
  const kill = () => void child.kill('SIGKILL')
  process.once('exit', kill)
  const ended = once(child, 'exit')
  const close = async () => {
    process.off('exit', kill)
    child.kill('SIGTERM')
    await ended
    await rm(folder, { recursive: true, force: true })
  }
  for (let tries = 0; tries < 100; tries++) {
    if (child.exitCode !== null) break
    const socket = await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      // TLS on that port answers with an error of its own, but answers
      (error: { cause?: { code?: string } }) => error.cause?.code !== 'ECONNREFUSED',
    )
    if (socket) return { port, close }
    await sleep(50)
  }
  await close()
  throw new Error('nginx does not start')
}
