/** Settings of the audit log: who signs its checkpoints, and where the newest is kept. */
import { z } from 'zod'
import { duration, leafInfo, path } from './leaves.ts'
import { parseDuration } from './units.ts'

const originWanted = 'wanted a name without spaces and +, as in npm.acme.example/audit'
const keyWanted = 'wanted name+hash+key, as `attestry log key` prints it'

export const auditLog = z
  .strictObject({
    origin: z
      .string({ error: originWanted })
      .regex(/^[^\s+]{1,200}$/, { error: originWanted })
      .describe(
        "The log's name in its checkpoints; never change it. Default: made from the key.",
      )
      .register(leafInfo, { type: 'text' })
      .optional(),
    key: path(
      'The private Ed25519 key that signs checkpoints, PEM. Default: `audit-log.key` in `storage.path`, made at first use.',
      'file',
    ).optional(),
    formerKeys: z
      .array(
        z
          .string({ error: keyWanted })
          .regex(/^[^\s+]+\+[0-9a-f]{8}\+\S+$/, { error: keyWanted }),
        {
          error: 'wanted a list of keys',
        },
      )
      .describe('Public keys that signed before `key`, as `attestry log key` prints them.')
      .register(leafInfo, { type: 'list of keys', list: true })
      .default([]),
    checkpoint: path(
      'The newest checkpoint in a file, to which the database is held; best on another disk. Default: `audit-log.checkpoint` in `storage.path`.',
      'folder',
    )
      .register(leafInfo, { type: 'path', entry: 'folder' })
      .optional(),
    interval: duration('The longest an entry waits for a checkpoint that covers it.', {
      min: parseDuration('100ms') ?? 0,
      max: parseDuration('1h') ?? 0,
    }).prefault('10s'),
    repeats: duration(
      'In how long a remembered verdict that one client is given again is gathered into one entry; 0s: each has its own.',
      { min: 0, max: parseDuration('10m') ?? 0 },
    ).prefault('10s'),
  })
  .describe('How the audit log is signed.')
  .prefault({})
