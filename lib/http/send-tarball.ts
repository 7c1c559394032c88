/** GET /:pkg/-/:file.tgz: the verdict first, then the bytes that were admitted. */
import type { Context } from 'koa'
import { AttestryError } from '../errors.ts'
import type { Admission } from '../gate/admissions.ts'
import type { Gate } from '../gate/gate.ts'
import { whyUrl } from '../gate/representation.ts'
import type { Integrity, PackageId } from '../types.ts'
import { clientOf } from './client.ts'
import { matchesEtag, rangeOf } from './conditional.ts'
import { refusalAnswer } from './refusal.ts'
import { sendAnswer } from './send.ts'

/** Blobs up to this size are read whole: several times cheaper than a stream. */
const SMALL = 8 * 1024 * 1024

/** Of the whole; what is said of a part beside it is its range. */
export const tarballHeaders = (
  integrity: Integrity,
  length: number,
): readonly (readonly [name: string, value: string])[] => [
  ['accept-ranges', 'bytes'],
  ['etag', `"${integrity}"`],
  ['cache-control', 'public, max-age=300'],
  ['content-type', 'application/octet-stream'],
  ['content-length', String(length)],
]

/** False when the bytes were evicted in between. */
const sendBytes = async (
  ctx: Context,
  gate: Gate,
  { integrity, size }: NonNullable<Admission['blob']>,
): Promise<boolean> => {
  const range = rangeOf(ctx.get('range'), size)
  if (range === 'unsatisfiable') {
    ctx.set('content-range', `bytes */${size}`)
    ctx.status = 416
    return true
  }
  const length = range ? range.end - range.start + 1 : size
  const open = async () => {
    if (ctx.method === 'HEAD') return Buffer.alloc(0)
    if (size > SMALL) return (await gate.openBlob(integrity, range))?.stream
    const bytes = await gate.getBlob(integrity)
    return range ? bytes?.subarray(range.start, range.end + 1) : bytes
  }
  const body = await open()
  if (!body) return false
  ctx.status = range ? 206 : 200
  for (const [name, value] of tarballHeaders(integrity, length)) ctx.set(name, value)
  if (range) ctx.set('content-range', `bytes ${range.start}-${range.end}/${size}`)
  if (ctx.method !== 'HEAD') ctx.body = body
  ctx.length = length
  return true
}

export const sendTarball = async (ctx: Context, gate: Gate, id: PackageId): Promise<void> => {
  const client = clientOf(ctx)
  // an eviction between the verdict and the reading is answered by bringing the bytes again, once
  for (let attempt = 0; attempt < 2; attempt++) {
    const { verdict, blob } = await gate.tarball(id, client)
    if (!blob) return sendAnswer(ctx, refusalAnswer(verdict, whyUrl(gate, id.name, id.version)))
    if (matchesEtag(ctx.get('if-none-match'), `"${blob.integrity}"`)) {
      ctx.set('etag', `"${blob.integrity}"`)
      ctx.status = 304
      return
    }
    if (await sendBytes(ctx, gate, blob)) return
    gate.forget(id)
  }
  throw new AttestryError(
    'ESTORE',
    `The bytes of ${id.name}@${id.version} do not stay in the store.`,
  )
}
