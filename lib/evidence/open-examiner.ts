/** The examiner that serving uses: cryptography and archives in worker threads. */
import { availableParallelism } from 'node:os'
import { extname } from 'node:path'
import { Readable } from 'node:stream'
import { AttestryError, messageOf } from '../errors.ts'
import type { Evidence, Fact, TrustMaterial, Vouch } from '../types.ts'
import type { Examiner, ExamineRequest } from './examiner.ts'
import { tarballLimits, type TarballLimits } from './tarball-limits.ts'
import { openPool } from './pool.ts'
import { openVerification } from './verification.ts'
import type { WorkerData } from './worker.ts'

export type ExaminerOptions = {
  readonly trust: TrustMaterial
  /**
   * URLs that publish attestations may name when they are signed with a key that does not say which
   * registry it belongs to (keys from a file). Without them any registry's name is taken.
   */
  readonly registries?: readonly string[]
  /** Threads; default one less than there are cores, at least 1 and at most 4. */
  readonly workers?: number
  /** Milliseconds for one request; default 30,000. */
  readonly timeout?: number
  /** MiB of heap for each worker; default 512. */
  readonly memory?: number
  /** Requests that may wait for a worker; default 4,096. */
  readonly queue?: number
  readonly limits?: TarballLimits
}

/** Bytes of a tarball; what is larger goes as a stream, which holds up no short call. */
const inOneMessage = 256 * 1024

const defaultWorkers = () => Math.max(1, Math.min(4, availableParallelism() - 1))

/** Beside this file, as source or as compiled. */
const workerUrl = new URL(`./worker${extname(import.meta.url)}`, import.meta.url)

const unavailable = (error: unknown): Fact<never> => ({
  state: 'unavailable',
  detail: messageOf(error),
})

/** Throws ETRUST when the trust material cannot be used. */
// oxlint-disable-next-line typescript/require-await -- opening is a promise everywhere in the house
export const openExaminer = async (options: ExaminerOptions): Promise<Examiner> => {
  const { trust, registries, timeout = 30_000, limits = tarballLimits } = options
  try {
    openVerification(trust, registries)
  } catch (error) {
    throw new AttestryError(
      'ETRUST',
      `The trust material cannot be used: ${messageOf(error)}`,
      {
        cause: error,
      },
    )
  }
  const pool = openPool({
    url: workerUrl,
    workerData: { trust, registries, limits } satisfies WorkerData,
    size: options.workers ?? defaultWorkers(),
    timeout,
    memory: options.memory ?? 512,
    queue: options.queue ?? 4096,
  })

  const examine = async (request: ExamineRequest): Promise<Evidence> => {
    try {
      const { attestations } = request
      // a copy: the body may share its memory with other buffers
      const body =
        attestations.kind === 'found' ? Uint8Array.from(attestations.body) : undefined
      const sent = body ? { ...request, attestations: { kind: 'found', body } } : request
      return (await pool.call('examine', sent, body ? [body.buffer] : [])) as Evidence
    } catch (error) {
      const fact = unavailable(error)
      return {
        package: request.package,
        integrity: request.integrity,
        registrySignature: fact,
        publishAttestation: fact,
        provenance: fact,
        trust: trust.digest,
      }
    }
  }

  const inspect: (...asked: Parameters<Examiner['inspect']>) => Promise<unknown> = (
    tarball,
    claimed,
  ) => {
    if (!(tarball instanceof Uint8Array)) return pool.stream('inspect', claimed, tarball)
    if (tarball.length > inOneMessage)
      return pool.stream('inspect', claimed, Readable.from([tarball], { objectMode: false }))
    // a copy: the caller goes on with its own
    const bytes = new Uint8Array(tarball)
    return pool.call('inspect', { claimed, bytes }, [bytes.buffer])
  }

  return {
    trust: trust.digest,
    examine,
    vouches: async request => {
      if (request.vouches.length === 0) return []
      try {
        return (await pool.call('vouches', request, [])) as readonly Fact<Vouch>[]
      } catch (error) {
        return request.vouches.map(() => unavailable(error))
      }
    },
    inspect: async (tarball, claimed) => {
      try {
        return (await inspect(tarball, claimed)) as Awaited<ReturnType<Examiner['inspect']>>
      } catch (error) {
        return unavailable(error)
      }
    },
    close: () => pool.close(),
  }
}
