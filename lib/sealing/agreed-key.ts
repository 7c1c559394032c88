/**
 * One key for all instances that share a store: the public key of the first is kept in the store,
 * and who comes with another one is told before it signs anything.
 */
import { AttestryError } from '../errors.ts'
import type { Records } from '../store/store.ts'
import { openCheckpoint } from '../transparency/checkpoint.ts'
import type { NoteSigner, NoteVerifier } from '../transparency/note.ts'

const collection = 'audit-log'
const key = 'key'
/** Instances that change the key at the same moment. */
const tries = 5

type Agreed = {
  /** `name+hash+key`, as `attestry log key` prints it. */
  readonly key: string
  /** When it was agreed on; ISO 8601, UTC. */
  readonly at: string
}

export type AgreeOptions = {
  readonly records: Records
  /** Of this instance; undefined where it has none. */
  readonly signer: NoteSigner | undefined
  readonly former: readonly NoteVerifier[]
  /** `name+hash+key`: keys that this instance says are replaced. */
  readonly formerKeys: readonly string[]
  /** The newest checkpoint of the log. */
  readonly checkpoint: string | undefined
  readonly now: () => Date
}

const another = (own: NoteSigner | undefined, theirs: string) =>
  new AttestryError(
    'ELOGKEY',
    `The instances on this store sign the audit log with ${theirs}; this one has ${own ? `the key ${own.verifierKey}` : 'no key'}.`,
    { details: { wanted: theirs, found: own?.verifierKey ?? 'none' } },
  )

/** A log that was signed before anybody agreed on its key. */
const holdTo = ({ signer, former, checkpoint }: AgreeOptions): void => {
  if (checkpoint === undefined) return
  try {
    openCheckpoint(checkpoint, [...(signer ? [signer] : []), ...former])
  } catch {
    const by = /^— (\S+) /m.exec(checkpoint)?.[1] ?? 'somebody'
    throw another(signer, `the key of ${by}`)
  }
}

export const isAgreed = async (records: Records): Promise<boolean> =>
  (await records.get(collection, key)) !== undefined

/** Throws ELOGKEY. */
export const agreeOnKey = async (options: AgreeOptions): Promise<void> => {
  const { records, signer, formerKeys, now } = options
  for (let left = tries; left > 0; left--) {
    const found = await records.get<Agreed>(collection, key)
    if (found !== undefined && found.key === signer?.verifierKey) return
    if (found === undefined) holdTo(options)
    else if (!formerKeys.includes(found.key)) throw another(signer, found.key)
    // nothing was signed yet, and nothing is signed by this one
    if (!signer) return
    const ours: Agreed = { key: signer.verifierKey, at: now().toISOString() }
    if (await records.swap(collection, key, found, ours)) return
  }
  throw new AttestryError('ESTORE', 'The key of the audit log changes faster than it is read.')
}
