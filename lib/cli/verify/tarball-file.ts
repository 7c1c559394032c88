/** A tarball on disk: its digests, its package.json, and its bytes again. Nothing is ever unpacked to disk. */
import { createHash } from 'node:crypto'
import { open, type FileHandle } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { parse } from 'semver'
import { AttestryError, messageOf } from '../../errors.ts'
import { readTarball } from '../../evidence/tarball.ts'
import { tarballLimits } from '../../evidence/tarball-limits.ts'
import { isPackageName } from '../../http/names.ts'
import type { Integrity, PackageId } from '../../types.ts'

export type TarballFile = {
  readonly file: string
  readonly integrity: Integrity
  /** Hex. */
  readonly sha1: string
  readonly size: number
  /** Its package.json's name and version; throws EUSAGE when it has none that a registry could have. */
  readonly named: () => Promise<PackageId>
  /** From the start; the same file even if another took its name meanwhile. */
  readonly read: () => Readable
  readonly close: () => Promise<void>
}

const readFrom = (handle: FileHandle): Readable =>
  handle.createReadStream({ start: 0, autoClose: false })

const bad = (file: string, what: string, cause?: unknown) =>
  new AttestryError('EUSAGE', `${file}: ${what}`, { cause })

/** npm publishes `v1.0.0` and ` 1.0.0` as 1.0.0. */
const versionOf = (value: unknown): string | undefined =>
  typeof value === 'string' ? parse(value, { loose: true })?.version : undefined

/** `unpacked`: the most its content may have, in bytes. Throws EUSAGE, naming the file. */
export const openTarball = async (file: string, unpacked: number): Promise<TarballFile> => {
  const handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    const why = error.code === 'ENOENT' ? 'there is no such file' : messageOf(error)
    throw bad(file, why, error)
  })
  try {
    if (!(await handle.stat()).isFile()) throw bad(file, 'wanted a file')
    const [sha512, sha1] = [createHash('sha512'), createHash('sha1')]
    let size = 0
    for await (const chunk of readFrom(handle) as AsyncIterable<Buffer>) {
      sha512.update(chunk)
      sha1.update(chunk)
      size += chunk.length
    }
    return {
      file,
      integrity: `sha512-${sha512.digest('base64')}`,
      sha1: sha1.digest('hex'),
      size,
      named: async () => {
        const limits = { ...tarballLimits, unpacked }
        const { name, version } = await readTarball(readFrom(handle), limits).catch(
          (error: unknown) => {
            const what = `its package.json cannot be read (${messageOf(error)})`
            throw bad(file, `${what}; what it should be can be said with --package`, error)
          },
        )
        const cleaned = versionOf(version)
        if (typeof name === 'string' && isPackageName(name) && cleaned !== undefined)
          return { name, version: cleaned }
        const found = JSON.stringify({ name, version })
        throw bad(file, `its package.json has no name and version of a package: ${found}`)
      },
      read: () => readFrom(handle),
      close: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error instanceof AttestryError ? error : bad(file, messageOf(error), error)
  }
}
