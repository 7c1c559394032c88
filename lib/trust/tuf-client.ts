/**
 * The TUF client workflow by tuf-js over files that are kept elsewhere: it starts from a copy, and
 * what it verified comes back as a new state, whole. Nothing of it is in use before that.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Updater } from 'tuf-js'
import { AttestryError, isAttestryError, messageOf } from '../errors.ts'
import type { TufPlace } from './tuf-fetcher.ts'
import type { TufState } from './tuf-state.ts'

export type TufUpdate = {
  /** What to go on from, and later trust in; the same as before when nothing could be verified. */
  readonly state: TufState
  /** Why it is not up to date: ETUF or ETRUST. `reached`: the repository answered, and was refused. */
  readonly failure?: { readonly error: AttestryError; readonly reached: boolean }
}

export type TufUpdateOptions = {
  readonly state: TufState
  readonly place: TufPlace
  /** Paths of targets; those marked optional may be missing in the repository. */
  readonly targets: readonly { readonly path: string; readonly optional: boolean }[]
  /** An empty folder. */
  readonly scratch: string
  readonly now: () => Date
}

/** Bytes. A target that says it is longer is not downloaded. */
const targetLimit = 1024 * 1024

const limits = { rootMaxLength: 512 * 1024, timestampMaxLength: 16 * 1024 }

const metadataIn = async (folder: string): Promise<Record<string, string>> => {
  const found: Record<string, string> = {}
  for (const name of await readdir(folder))
    found[name] = await readFile(join(folder, name), 'utf8')
  return found
}

const fetchTargets = async (updater: Updater, options: TufUpdateOptions, folder: string) => {
  const found: Record<string, string> = {}
  for (const { path, optional } of options.targets) {
    const info = await updater.getTargetInfo(path)
    if (info === undefined) {
      if (optional) continue
      throw new AttestryError('ETUF', `it has no target ${path}`)
    }
    if (info.length > targetLimit)
      throw new AttestryError(
        'ETUF',
        `its target ${path} has ${info.length} bytes; wanted at most ${targetLimit} bytes`,
      )
    const file = join(folder, encodeURIComponent(path))
    const have = options.state.targets[path]
    if (have !== undefined) await writeFile(file, have)
    const kept = await updater.findCachedTarget(info, file)
    found[path] = await readFile(kept ?? (await updater.downloadTarget(info, file)), 'utf8')
  }
  return found
}

export const updateTuf = async (options: TufUpdateOptions): Promise<TufUpdate> => {
  const { state, place, scratch, now } = options
  const metadata = join(scratch, 'metadata')
  const targets = join(scratch, 'targets')
  await mkdir(metadata, { recursive: true })
  await mkdir(targets, { recursive: true })
  for (const [name, text] of Object.entries(state.metadata))
    await writeFile(join(metadata, name), text)
  try {
    const updater = new Updater({
      metadataDir: metadata,
      metadataBaseUrl: place.metadataUrl,
      targetDir: targets,
      targetBaseUrl: place.targetUrl,
      fetcher: place.fetcher,
      config: limits,
    })
    await updater.refresh()
    const fetched = await fetchTargets(updater, options, targets)
    return {
      state: {
        metadata: await metadataIn(metadata),
        targets: fetched,
        checkedAt: now().toISOString(),
      },
    }
  } catch (error) {
    const unreachable = place.unreachable()
    const known = unreachable ?? error
    return {
      // a root that was verified stays (TUF 5.3.8), also when what comes after it is refused
      state: { ...state, metadata: await metadataIn(metadata) },
      failure: {
        error: isAttestryError(known)
          ? known
          : new AttestryError('ETUF', messageOf(known), { cause: known }),
        reached: unreachable === undefined,
      },
    }
  }
}
