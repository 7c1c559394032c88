/** A private registry that takes whatever is published and signs nothing; its storage can be tampered with. */
import { createHash } from 'node:crypto'
import type { Json } from './json.ts'
import { startRecorder, type Recorder } from './recorder.ts'
import { packTarball } from './registry/tarball.ts'

export type PrivateRegistry = Recorder & {
  /** Packuments by name, as they are served. */
  readonly packuments: Map<string, Json>
  /** Tarballs by `name/version`. */
  readonly tarballs: Map<string, Buffer>
  version(name: string, version: string): Json
  /** As if somebody had published past Attestry. */
  publish(name: string, version: string, tarball?: Buffer): void
}

export const sha512 = (bytes: Uint8Array) =>
  `sha512-${createHash('sha512').update(bytes).digest('base64')}` as const

export const tarballOf = (name: string, version: string, text = '') =>
  packTarball({
    'package.json': JSON.stringify({ name, version }),
    'index.js': `// ${text}\n`,
  })

/** As libnpmpublish sends it. */
export const publishDocument = (
  name: string,
  version: string,
  tarball = tarballOf(name, version),
) => {
  const file = `${name}-${version}.tgz`
  const integrity: string = sha512(tarball)
  return {
    _id: name,
    name,
    'dist-tags': { latest: version },
    versions: {
      [version]: {
        name,
        version,
        _id: `${name}@${version}`,
        dist: {
          integrity,
          shasum: createHash('sha1').update(tarball).digest('hex'),
          tarball: `http://localhost/${name}/-/${file}`,
        },
      },
    },
    access: null,
    _attachments: {
      [file]: {
        content_type: 'application/octet-stream',
        data: tarball.toString('base64'),
        length: tarball.length,
      },
    },
  }
}

export const startPrivateRegistry = async (): Promise<PrivateRegistry> => {
  const recorder = await startRecorder()
  const packuments = new Map<string, Json>()
  const tarballs = new Map<string, Buffer>()
  const nameIn = (target: string) => decodeURIComponent(target).slice(1).split('/-/')[0] ?? ''

  const take = (document: ReturnType<typeof publishDocument>) => {
    const { name, versions, _attachments } = document
    const at = new Date().toISOString()
    const before = packuments.get(name)
    const made = JSON.parse(JSON.stringify(versions)) as Record<string, Json>
    for (const [version, manifest] of Object.entries(made)) {
      const [attachment] = Object.values(_attachments)
      tarballs.set(`${name}/${version}`, Buffer.from(attachment?.data ?? '', 'base64'))
      manifest['dist'].tarball = `${recorder.url}${name}/-/${version}.tgz`
    }
    packuments.set(name, {
      _id: name,
      name,
      'dist-tags': document['dist-tags'],
      versions: { ...(before?.['versions'] as Json), ...made },
      time: {
        ...(before?.['time'] as Json),
        ...Object.fromEntries(Object.keys(made).map(version => [version, at])),
      },
    })
  }

  recorder.on(/^PUT /, ({ target, body }) => {
    if (target.includes('/-rev/')) return { status: 201, body: { ok: true } }
    take(JSON.parse(body.toString('utf8')) as ReturnType<typeof publishDocument>)
    return { status: 201, body: { ok: true } }
  })
  recorder.on(/^GET /, ({ target, headers }) => {
    const found = packuments.get(nameIn(target))
    if (!found) return { status: 404, body: { error: 'not found' } }
    const version = /\/-\/(.+)\.tgz$/.exec(target)?.[1]
    if (version !== undefined) {
      const bytes = tarballs.get(`${nameIn(target)}/${version}`)
      return bytes ? { body: bytes } : { status: 404, body: {} }
    }
    const text = JSON.stringify(found)
    const etag = `"${createHash('sha1').update(text).digest('hex')}"`
    return headers['if-none-match'] === etag
      ? { status: 304, body: '' }
      : { body: text, headers: { etag } }
  })
  return {
    ...recorder,
    packuments,
    tarballs,
    version: (name, version) =>
      ((packuments.get(name) ?? {})['versions'] as Record<string, Json>)[version] ?? {},
    publish: (name, version, tarball) => take(publishDocument(name, version, tarball)),
  }
}
