/**
 * What is kept of a TUF repository: verified metadata and targets in one file, replaced whole, so
 * that a crash leaves the old one or the new one. It is what makes an older repository a rollback,
 * also after a restart and for other processes with the same storage.
 */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { AttestryError, messageOf } from '../errors.ts'

const stateSchema = z.object({
  format: z.literal(1),
  metadata: z.record(z.string(), z.string()),
  targets: z.record(z.string(), z.string()),
  checkedAt: z.string().optional(),
})

export type TufState = {
  /** Verified metadata by file name, as in `root.json`. */
  readonly metadata: Readonly<Record<string, string>>
  /** Verified targets by path. */
  readonly targets: Readonly<Record<string, string>>
  /** When the repository was last verified whole. */
  readonly checkedAt?: string
}

export type RoleStatus = { readonly version: number; readonly expires: string }

export const roles = ['root', 'timestamp', 'snapshot', 'targets'] as const
export type Role = (typeof roles)[number]

/** What the verified metadata of a role says of itself. */
export const roleOf = (state: TufState, role: Role): RoleStatus | undefined => {
  const text = state.metadata[`${role}.json`]
  if (text === undefined) return undefined
  const { version, expires } = z
    .object({ signed: z.object({ version: z.int(), expires: z.string() }) })
    .parse(JSON.parse(text)).signed
  return { version, expires: new Date(expires).toISOString() }
}

/** Of two states of one repository the one that was published later; the first when they are equal. */
export const laterOf = (a: TufState, b: TufState): TufState => {
  // a new root may begin the others' counting anew (TUF 5.3.11), so it is compared first
  for (const role of roles) {
    const difference = (roleOf(b, role)?.version ?? 0) - (roleOf(a, role)?.version ?? 0)
    if (difference !== 0) return difference > 0 ? b : a
  }
  return (b.checkedAt ?? '') > (a.checkedAt ?? '') ? b : a
}

/** Throws ETRUST when it is there and cannot be read: without it an older root would be taken again. */
export const readState = async (file: string): Promise<TufState | undefined> => {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new AttestryError('ETRUST', `${file}: ${messageOf(error)}`, { cause: error })
  }
  try {
    const { format: _format, checkedAt, ...rest } = stateSchema.parse(JSON.parse(text))
    const state = { ...rest, ...(checkedAt !== undefined && { checkedAt }) }
    for (const role of roles) roleOf(state, role)
    return state
  } catch (error) {
    const what = 'what was kept of the TUF repository is damaged; remove it to begin again'
    throw new AttestryError('ETRUST', `${file}: ${what}`, { cause: error })
  }
}

export const writeState = async (file: string, state: TufState): Promise<void> => {
  const folder = dirname(file)
  await mkdir(folder, { recursive: true })
  const temporary = join(folder, `.${randomUUID()}.json`)
  try {
    const handle = await open(temporary, 'wx')
    try {
      await handle.writeFile(JSON.stringify({ format: 1, ...state }))
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}
