/** The sealer as the settings have it: its key, the checkpoint beside it, and what is said of both. */
import { join } from 'node:path'
import { AttestryError, messageOf } from '../errors.ts'
import type { AuditLog, Records } from '../store/store.ts'
import { parseVerifierKey, type NoteSigner, type NoteVerifier } from '../transparency/note.ts'
import { agreeOnKey, isAgreed } from './agreed-key.ts'
import { openKeptCheckpoint, type KeptCheckpoint } from './kept-checkpoint.ts'
import { openLogKey } from './log-key.ts'
import { openSealer, type Sealer, type SealerOptions, type SealerState } from './sealer.ts'

export type SealingSettings = {
  readonly origin?: string | undefined
  readonly key?: string | undefined
  /** `name+hash+key`. */
  readonly formerKeys: readonly string[]
  readonly checkpoint?: string | undefined
  /** Milliseconds. */
  readonly interval: number
}

export type SealingPlace = {
  readonly settings: SealingSettings
  /** The folder that has what the settings do not place elsewhere. */
  readonly storage: string
}

export const keptCheckpointOf = ({ settings, storage }: SealingPlace): KeptCheckpoint =>
  openKeptCheckpoint(settings.checkpoint ?? join(storage, 'audit-log.checkpoint'))

const keyPlace = ({ settings, storage }: SealingPlace) => ({
  path: settings.key ?? join(storage, 'audit-log.key'),
  origin: settings.origin,
})

/** The key that signs; undefined where there is none yet. Throws ECONFIG. */
export const logKeyOf = (place: SealingPlace): Promise<NoteSigner | undefined> =>
  openLogKey(keyPlace(place))

/** Throws ECONFIG for one that is none. */
const formerKeys = ({ formerKeys: keys }: SealingSettings): readonly NoteVerifier[] =>
  keys.map(key => {
    try {
      return parseVerifierKey(key)
    } catch (error) {
      throw new AttestryError('ECONFIG', `auditLog.formerKeys: ${messageOf(error)}`, {
        cause: error,
      })
    }
  })

/** The public keys by which checkpoints are checked, this log's own first. Throws ECONFIG. */
export const verifiersOf = async (place: SealingPlace): Promise<readonly NoteVerifier[]> => {
  const own = await logKeyOf(place)
  const former = formerKeys(place.settings)
  return own === undefined ? former : [own, ...former]
}

const lost = 'The key that signed this log is gone. Put it back, or name it in auditLog.key.'

/**
 * Makes the key at the first use: where nothing was signed yet. A log whose key is gone is not
 * signed by another; the sealer then only tells so. Throws ECONFIG for keys that are none, ELOGKEY
 * where the other instances on the store have another.
 */
export const openSealing = async (
  place: SealingPlace & {
    readonly audit: AuditLog
    /** Of a store that several instances share: they agree on one key. */
    readonly records?: Records | undefined
    readonly onEvent?: SealerOptions['onEvent']
    readonly now?: () => Date
  },
): Promise<Sealer> => {
  const { settings, audit, records, onEvent, now = () => new Date() } = place
  const former = formerKeys(settings)
  const { checkpoints } = await audit.tree()
  const kept = keptCheckpointOf(place)
  const fresh = checkpoints.length === 0 && (await kept.read()) === undefined
  const signer = await openLogKey({
    ...keyPlace(place),
    create: fresh && settings.key === undefined && !(records && (await isAgreed(records))),
  })
  if (records) {
    const { formerKeys: replaced } = settings
    const checkpoint = checkpoints.at(-1)
    await agreeOnKey({ records, signer, former, formerKeys: replaced, checkpoint, now })
  }
  if (signer === undefined) {
    const { size } = await audit.tree()
    const state: SealerState = { size, signed: 0, fault: lost }
    onEvent?.({ event: 'contradiction', detail: lost }, state)
    return {
      seal: async () => undefined,
      state: () => state,
      close: async () => {},
    }
  }
  return openSealer({
    audit,
    signer,
    former,
    kept,
    interval: settings.interval,
    ...(onEvent && { onEvent }),
  })
}
