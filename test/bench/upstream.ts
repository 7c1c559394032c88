/**
 * The registry behind every proxy that is measured: a plain server that holds finished bytes, in a
 * process of its own. Asked directly it shows what one Node process can do at all.
 */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { localSigstore } from '../support/local-sigstore.ts'
import { packumentOf, tarballPath, type PackageRecord } from '../support/registry/documents.ts'
import { makeMaterial, type Material, type MaterialOptions } from './material.ts'

/** What the parent is told once everything is ready. */
export type UpstreamReady = Material['application'] & {
  /** Without a slash at its end. */
  readonly url: string
  readonly trustedRoot: object
  readonly registryKeys: object
}

type Finished = {
  readonly identity: Buffer
  readonly gzip?: Buffer
  readonly etag: string
  readonly type: string
}

/** For nginx, which has no other validator for what it rewrites. */
const lastModified = new Date(Date.UTC(2026, 0, 1)).toUTCString()

const abbreviatedType = 'application/vnd.npm.install-v1+json'

const finished = (identity: Buffer, type: string): Finished => ({
  identity,
  type,
  etag: `"${createHash('sha1').update(identity).digest('base64url')}"`,
  ...(type === 'application/octet-stream' ? {} : { gzip: gzipSync(identity) }),
})

/** Keys are paths as they are asked for, with the form before those of packuments. */
const finish = (packages: readonly PackageRecord[], base: string): Map<string, Finished> => {
  const all = new Map<string, Finished>()
  const strip = { signatures: false, attestations: false }
  for (const record of packages) {
    for (const [form, type] of [
      ['full', 'application/json'],
      ['abbreviated', abbreviatedType],
    ] as const) {
      const document = packumentOf(record, base, base, form, strip)
      all.set(`${form} ${record.name}`, finished(Buffer.from(JSON.stringify(document)), type))
    }
    for (const { name, version, tarball, attestations } of record.releases.values()) {
      if (tarball)
        all.set(tarballPath(name, version), finished(tarball, 'application/octet-stream'))
      if (attestations.length > 0) {
        const body = Buffer.from(JSON.stringify({ attestations }))
        const key = `-/npm/v1/attestations/${name}@${version}`
        all.set(key, finished(body, 'application/json'))
      }
    }
  }
  return all
}

const answerWith =
  (documents: ReadonlyMap<string, Finished>) =>
  ({ url = '/', headers, method }: IncomingMessage, response: ServerResponse): void => {
    const [path = '/'] = url.slice(1).split('?')
    const key = path.includes('%') ? decodeURIComponent(path) : path
    const form = headers.accept?.includes(abbreviatedType) === true ? 'abbreviated' : 'full'
    const found = documents.get(`${form} ${key}`) ?? documents.get(key)
    if (found === undefined) {
      const known = key === '-/ping'
      response.writeHead(known ? 200 : 404, { 'content-type': 'application/json' }).end('{}')
      return
    }
    const common = {
      etag: found.etag,
      'last-modified': lastModified,
      'content-type': found.type,
      'cache-control': 'public, max-age=300',
      vary: 'accept, accept-encoding',
    }
    if (headers['if-none-match'] === found.etag) {
      response.writeHead(304, common).end()
      return
    }
    const gzip = headers['accept-encoding']?.includes('gzip') === true ? found.gzip : undefined
    const body = gzip ?? found.identity
    response.writeHead(200, {
      ...common,
      ...(gzip ? { 'content-encoding': 'gzip' } : {}),
      'content-length': body.length,
    })
    response.end(method === 'HEAD' ? undefined : body)
  }

const run = async (options: MaterialOptions): Promise<UpstreamReady> => {
  const sigstore = await localSigstore()
  let answer = answerWith(new Map())
  const server = createServer((request, response) => answer(request, response))
  server.keepAliveTimeout = 65_000
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { packages, application } = await makeMaterial(options, sigstore)
  answer = answerWith(finish(packages, `${url}/`))
  const ready = {
    ...application,
    url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
  }
  await sigstore.close()
  return ready
}

// a child process of start-upstream.ts; it ends with the channel to its parent
if (process.send !== undefined) {
  process.on('disconnect', () => process.exit(0))
  process.send(await run(JSON.parse(process.argv[2] ?? '{}') as MaterialOptions))
}
