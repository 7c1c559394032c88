/** Brings a tarball into the store's staging area, hashed, readable by nobody yet. */
import { createHash } from 'node:crypto'
import { AttestryError } from '../errors.ts'
import type { BlobInfo, Blobs, StagedBlob } from '../store/store.ts'
import type { Fact, VersionClaims } from '../types.ts'
import type { Upstream } from '../upstream/upstream.ts'

export type Download = {
  readonly staged: StagedBlob
  readonly info: BlobInfo
  /** Hexadecimal; where the packument promises no sha512. */
  readonly sha1?: string
}

export type Downloading = {
  readonly done: Promise<Download>
  /** Ends the transfer and leaves nothing behind. Safe at any time, and nobody has to wait for it. */
  readonly abandon: () => void
}

const MISSING = 'has no such tarball'

/** Starts at once; `done` rejects with the upstream's error, and then nothing is left behind. */
export const startDownload = (
  upstream: Upstream,
  { tarball: url, integrity }: Pick<VersionClaims, 'tarball' | 'integrity'>,
  blobs: Blobs,
): Downloading => {
  let abandoned = false
  let stop: (() => void) | undefined
  const run = async (): Promise<Download> => {
    if (url === '') {
      throw new AttestryError(
        'EUPSTREAMDATA',
        `The upstream ${upstream.name} gives no tarball address.`,
      )
    }
    const answer = await upstream.tarball(url)
    if (answer.kind === 'missing') {
      throw new AttestryError('ENOTFOUND', `The upstream ${upstream.name} ${MISSING}.`)
    }
    const { body } = answer
    // it may fail before it is read; reading it then throws the same error
    body.on('error', () => undefined)
    const staged = await blobs.stage()
    const sha1 = integrity ? undefined : createHash('sha1')
    try {
      stop = () => body.destroy()
      if (abandoned) stop()
      for await (const chunk of body as AsyncIterable<Buffer>) {
        sha1?.update(chunk)
        await staged.write(chunk)
      }
      if (abandoned) throw new AttestryError('EUPSTREAM', 'The transfer was abandoned.')
      const info = await staged.finish()
      return { staged, info, ...(sha1 && { sha1: sha1.digest('hex') }) }
    } catch (error) {
      body.destroy()
      await staged.abort()
      throw error
    }
  }
  const done = run()
  // awaited later, or never when the verdict comes first
  done.catch(() => undefined)
  return {
    done,
    abandon: () => {
      abandoned = true
      stop?.()
      // a slow upstream must not hold up the verdict that made the transfer pointless
      done.then(finished => finished.staged.abort()).catch(() => undefined)
    },
  }
}

/** Do the bytes match what the packument promised? sha512 where it is given, else sha1. */
export const bytesFact = (
  claims: VersionClaims,
  download: Pick<Download, 'info' | 'sha1'>,
  from?: Pick<Upstream, 'name' | 'evidenceFrom'>,
): Fact<{ readonly size: number }> => {
  const { info, sha1 = 'none' } = download
  const found = claims.integrity ? info.integrity : sha1
  const wanted = claims.integrity ?? claims.shasum ?? found
  return wanted === found
    ? { state: 'verified', size: info.size }
    : {
        state: 'invalid',
        code: 'INTEGRITY_MISMATCH',
        npmCode: 'EINTEGRITY',
        detail:
          from?.evidenceFrom === undefined
            ? 'The bytes the upstream sent are not the ones its packument names.'
            : `The bytes the mirror ${from.name} sent are not the ones the registry ${from.evidenceFrom} names.`,
        wanted,
        found,
      }
}
