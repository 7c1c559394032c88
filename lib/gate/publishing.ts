/**
 * Publishing through us to an upstream whose packages we sign: the body is read along as it goes by,
 * and once the upstream has taken it and shows it, it is signed.
 */
import { pipeline, Transform, type Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../errors.ts'
import type { PassRequest } from './pass-through.ts'
import { openPublishReader } from './publish-reader.ts'
import type { RegistrySignatures } from './registry-signatures.ts'

export type Watch = {
  /** In place of the request's own. */
  readonly body: Readable
  /** To call once the upstream has taken it: why it will not be signed, where it was to be. */
  readonly taken: () => Promise<string | undefined>
  /** To wait for then: until it is signed, or for as long as a publisher may be kept waiting. */
  readonly signed: () => Promise<void>
}

export type Publishing = {
  readonly watch: (upstream: string, request: PassRequest) => Watch | undefined
}

export type PublishingOptions = {
  readonly signatures: RegistrySignatures
  /** Asks the upstream for the package anew, which signs what is there. */
  readonly look: (name: string) => Promise<void>
  readonly onUnsigned: (name: string, upstream: string, why: string) => void
}

/** Milliseconds the publisher waits for the signature; after that it comes when it comes. */
const PATIENCE = 5_000

export const openPublishing = (options: PublishingOptions): Publishing => {
  const { signatures, look, onUnsigned } = options

  const looked = async (name: string): Promise<void> => {
    const patience = new AbortController()
    const { signal } = patience
    // what fails here is told of where the package is next asked for
    const asked = look(name).catch(() => undefined)
    await Promise.race([asked, sleep(PATIENCE, undefined, { signal }).catch(() => undefined)])
    patience.abort()
  }

  return {
    watch: (upstream, { publishes: name, body, headers }) => {
      if (name === undefined || !body || !signatures.signs(upstream)) return undefined
      const reader = openPublishReader(name)
      const along = new Transform({
        transform(chunk: Buffer, _, next) {
          reader.write(chunk)
          next(null, chunk)
        },
      })
      if (body instanceof Uint8Array) along.end(body)
      // a failure of either ends the other; it is told where the stream is read
      else pipeline(body, along, () => undefined)
      const encoding = headers?.['content-encoding']?.toLowerCase() ?? 'identity'

      let awaited = false
      const taken = async (): Promise<string | undefined> => {
        const published =
          encoding === 'identity'
            ? reader.end()
            : { unsigned: `the request was sent with content-encoding ${encoding}` }
        if (published === undefined) return undefined
        const tell = (id: string, why: string) => {
          onUnsigned(id, upstream, why)
          return why
        }
        if ('unsigned' in published) return tell(name, published.unsigned)
        const { version, integrity } = published
        const id = `${name}@${version}`
        try {
          await signatures.published(upstream, published, integrity)
        } catch (error) {
          return tell(id, messageOf(error))
        }
        awaited = true
        return undefined
      }
      const signed = async (): Promise<void> => {
        if (awaited) await looked(name)
      }
      return { body: along, taken, signed }
    },
  }
}
