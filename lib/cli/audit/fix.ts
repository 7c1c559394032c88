/** `--fix`: entries that would go past the proxy are pointed at it, and the file is replaced whole. */
import { randomUUID } from 'node:crypto'
import { open, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { AttestryError, messageOf } from '../../errors.ts'
import { fixBypasses, type BypassOptions } from '../../lockfile/bypass.ts'
import type { Lockfile } from '../../lockfile/lockfile.ts'
import { counted, plain, type Paint } from './paint.ts'

export type Fixed = { readonly text: string; readonly fixed: number }

/** The text with what can be rewritten safely rewritten; the same text when there is nothing. */
export const fixText = (text: string, lockfile: Lockfile, options: BypassOptions): Fixed => {
  const { text: after, fixed } = fixBypasses(text, lockfile, options)
  return { text: after, fixed }
}

/**
 * The file is either the old one or the new one, never a part; links stay links, and the mode
 * stays. Throws ELOCKFILE.
 */
export const replaceFile = async (file: string, text: string): Promise<void> => {
  let temporary: string | undefined
  try {
    const target = await realpath(file)
    const { mode } = await stat(target)
    temporary = join(dirname(target), `.attestry-${randomUUID()}.tmp`)
    {
      await using handle = await open(temporary, 'wx', mode & 0o777)
      await handle.writeFile(text)
      await handle.sync()
    }
    await rename(temporary, target)
  } catch (cause) {
    if (temporary !== undefined) await rm(temporary, { force: true })
    const message = `${file}: cannot be rewritten: ${messageOf(cause)}`
    throw new AttestryError('ELOCKFILE', message, { cause })
  }
}

/** The lines that differ, before and after; rewriting never adds or takes lines. */
export const changedLines = (
  file: string,
  before: string,
  after: string,
  paint: Paint,
): string => {
  const wanted = after.split('\n')
  const lines = before.split('\n').flatMap((line, i) => {
    const next = wanted[i] ?? ''
    if (line === next) return []
    return [
      paint('dim', `${plain(file)}:${i + 1}`),
      paint('red', `- ${plain(line.trim())}`),
      paint('green', `+ ${plain(next.trim())}`),
    ]
  })
  return lines.map(line => `${line}\n`).join('')
}

export const fixedLine = (
  file: string,
  fixed: number,
  registry: string,
  mode: 'show' | 'write',
) => {
  const entries = counted(fixed, 'entry', 'entries')
  if (fixed === 0) return `${plain(file)}: nothing to fix\n`
  return mode === 'show'
    ? `${plain(file)}: ${entries} would be pointed at ${registry}\n`
    : `${plain(file)}: ${entries} now ${fixed === 1 ? 'points' : 'point'} at ${registry}\n`
}
