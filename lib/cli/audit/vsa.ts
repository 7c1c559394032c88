/** `attestry audit --vsa`: the signed verdicts on everything a lockfile holds, for whoever asks what went in. */
import { mkdir, stat, writeFile } from 'node:fs/promises'
import { join, resolve, sep } from 'node:path'
import { AttestryError, messageOf } from '../../errors.ts'
import type { Assessment } from '../../gate/assessments.ts'
import type { Gate } from '../../gate/gate.ts'
import type { Integrity, PackageId } from '../../types.ts'
import { version } from '../../version.ts'
import { idOf } from './result.ts'

export type Collected = ReadonlyMap<string, object>

/** In the audit record, in place of an address. */
const CLIENT = { address: 'local', agent: `attestry/${version} audit --vsa` }

export const openCollector = (gate: Pick<Gate, 'assess' | 'summary'>) => {
  const collected = new Map<string, object>()
  return {
    collected: collected as Collected,
    /** Judges, and fetches the bytes as well: without them there is nothing to sign for. */
    assess: async (id: PackageId, integrity?: Integrity): Promise<Assessment> => {
      const assessment = await gate.assess(id, integrity)
      if (assessment.verdict.decision !== 'allow') return assessment
      const made = await gate.summary(id, CLIENT)
      // what the bytes gave away is known now
      if ('refused' in made) return gate.assess(id, integrity)
      if (integrity !== undefined && made.integrity !== integrity) {
        const message = `The summary of ${idOf(id)} is for ${made.integrity}, and the lockfile pins ${integrity}.`
        throw new AttestryError('EUPSTREAMDATA', message)
      }
      collected.set(idOf(id), made.bundle)
      return assessment
    },
  }
}

const isFolder = async (path: string, given: string): Promise<boolean> =>
  given.endsWith('/') ||
  given.endsWith(sep) ||
  (await stat(path).then(
    info => info.isDirectory(),
    () => false,
  ))

/** As a file: no slash of a scope. */
const fileOf = (id: string) => `${id.replace('/', '+')}.vsa.json`

/**
 * Into a folder (one that is there, or a path with a slash at its end) as one file for each version,
 * else into one file as one bundle a line. Throws EUSAGE.
 */
export const writeSummaries = async (
  collected: Collected,
  given: string,
  cwd: string,
): Promise<void> => {
  const path = resolve(cwd, given)
  const sorted = [...collected].sort(([a], [b]) => (a < b ? -1 : 1))
  try {
    if (!(await isFolder(path, given))) {
      await writeFile(path, sorted.map(([, bundle]) => `${JSON.stringify(bundle)}\n`).join(''))
      return
    }
    await mkdir(path, { recursive: true })
    for (const [id, bundle] of sorted)
      await writeFile(join(path, fileOf(id)), `${JSON.stringify(bundle, null, 2)}\n`)
  } catch (cause) {
    const message = `--vsa: ${path}: ${messageOf(cause)}`
    throw new AttestryError('EUSAGE', message, { cause })
  }
}
