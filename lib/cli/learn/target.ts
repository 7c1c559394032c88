/** The policy file that is made or added to. */
import { randomUUID } from 'node:crypto'
import { open, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { Settings } from '../../config/settings.ts'
import { readTextFile } from '../../config/text-file.ts'
import { AttestryError, messageOf } from '../../errors.ts'
import { shownPath } from '../audit/reports.ts'

/** Where a policy goes that nobody named. */
const USUAL = 'attestry.policy.yaml'

export type Target = {
  /** Absolute. */
  readonly file: string
  /** As people know it. */
  readonly shown: string
  /** What it says now; none when it is to be made. */
  readonly text?: string
}

const isThere = async (file: string): Promise<boolean> => {
  try {
    await stat(file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw new AttestryError('EPOLICY', `${file}: ${messageOf(error)}`, { cause: error })
  }
}

/** Throws EUSAGE when several policies are configured and none is named, EPOLICY for one that cannot be read. */
export const openTarget = async (
  output: string | undefined,
  { policies }: Pick<Settings, 'policies'>,
  cwd: string,
): Promise<Target> => {
  const [first, ...more] = policies
  if (output === undefined && more.length > 0) {
    const names = policies.map(file => shownPath(file, cwd)).join(', ')
    const message = `learn: there are several policies (${names}); name the one to add to with --output FILE`
    throw new AttestryError('EUSAGE', message)
  }
  const file = resolve(cwd, output ?? first ?? USUAL)
  const shown = shownPath(file, cwd)
  if (!(await isThere(file))) return { file, shown }
  return { file, shown, text: await readTextFile(file, 'EPOLICY') }
}

/**
 * The file is the old one or the new one, never a part; links stay links. Throws EPOLICY, also when
 * somebody changed the file since it was read.
 */
export const writeTarget = async ({ file, shown, text: before }: Target, text: string) => {
  let temporary: string | undefined
  try {
    const there = await isThere(file)
    const now = there ? await readTextFile(file, 'EPOLICY') : undefined
    if (now !== before)
      throw new AttestryError('EPOLICY', `${shown}: it was changed meanwhile; run learn again`)
    const place = there ? await realpath(file) : file
    const mode = there ? (await stat(place)).mode & 0o777 : 0o644
    temporary = join(dirname(place), `.attestry-${randomUUID()}.tmp`)
    {
      await using handle = await open(temporary, 'wx', mode)
      await handle.writeFile(text)
      await handle.sync()
    }
    await rename(temporary, place)
  } catch (cause) {
    if (temporary !== undefined) await rm(temporary, { force: true })
    if (cause instanceof AttestryError) throw cause
    const message = `${shown}: cannot be written: ${messageOf(cause)}`
    throw new AttestryError('EPOLICY', message, { cause })
  }
}
