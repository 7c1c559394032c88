/** The settings of what is kept: on this machine, or in PostgreSQL and S3 for several of them. */
import { z } from 'zod'
import { baseUrl, duration, integer, leafInfo, path, secret, size } from './leaves.ts'
import { parseDuration, parseSize } from './units.ts'

const ms = (text: string) => parseDuration(text) ?? Number.NaN
const bytes = (text: string) => parseSize(text) ?? Number.NaN
const wait = { min: 100, max: ms('5m') }
const room = { min: bytes('1MiB'), max: bytes('1024TiB') }

const schemaWanted = 'wanted a name of a to z, 0 to 9 and _, which begins with a letter'

const s3 = z
  .strictObject({
    url: baseUrl(
      "The bucket's address, `https://host/bucket` or `https://bucket.host`, with any path below it. The bucket must exist, and keep `If-None-Match: *`.",
    ),
    region: z
      .string({ error: 'wanted the name of a region' })
      .regex(/^[a-z0-9-]{1,64}$/, { error: 'wanted the name of a region' })
      .describe('What requests are signed for; servers of your own mostly take any.')
      .register(leafInfo, { type: 'text' })
      .default('us-east-1'),
    accessKeyId: secret('The access key that requests are signed with.'),
    secretAccessKey: secret('The secret of the access key.'),
    sessionToken: secret('Where the keys are temporary.').optional(),
    ca: path('PEM of the authorities that sign its certificate.', 'file').optional(),
    timeout: duration(
      'The longest it may say nothing before it counts as away.',
      wait,
    ).prefault('10s'),
    maxSize: size(
      'Kept in the bucket, over all instances; the least recently used go first. Default: no limit.',
      room,
    ).optional(),
  })
  .describe(
    'Where tarballs and packuments are kept for all instances. Together with `postgres`.',
  )

const postgres = z
  .strictObject({
    url: secret(
      '`postgres://user:password@host:port/database`; several hosts by commas, of which the one that takes writes is used. A connection pooler must keep sessions.',
    ),
    schema: z
      .string({ error: schemaWanted })
      .regex(/^[a-z][a-z0-9_]{0,47}$/, { error: schemaWanted })
      .describe('Where the tables are; made when missing.')
      .register(leafInfo, { type: 'text' })
      .default('attestry'),
    connections: integer('Connections of one process, besides five that it keeps.', {
      min: 1,
      max: 200,
    }).default(8),
    ca: path('PEM of the authorities that sign its certificate.', 'file').optional(),
    timeout: duration('The longest one query may take.', wait).prefault('5s'),
  })
  .describe('Where records and the audit log are kept for all instances. Together with `s3`.')

export const storage = z
  .strictObject({
    path: path(
      'Where tarballs, facts and the audit log are kept; with `s3` and `postgres`, where this machine keeps copies.',
      'folder',
    ).prefault('./.attestry'),
    maxSize: size('Tarballs kept on disk; the least recently used go first.', room).prefault(
      '20GiB',
    ),
    memory: size('Small tarballs and packuments kept in memory.', {
      min: bytes('1MiB'),
      max: bytes('1TiB'),
    }).prefault('256MiB'),
    outage: duration(
      'How long requests wait while PostgreSQL or S3 is away, before they are answered with ESTOREDOWN.',
      { min: 0, max: ms('1m') },
    ).prefault('3s'),
    s3: s3.optional(),
    postgres: postgres.optional(),
  })
  .superRefine((found, context) => {
    if ((found.s3 === undefined) === (found.postgres === undefined)) return
    const [there, missing] = found.s3 ? ['s3', 'postgres'] : ['postgres', 's3']
    const message = `storage.${there} needs storage.${missing} beside it: instances share both or neither`
    context.addIssue({ code: 'custom', message, path: [there] })
  })
  .describe('What is kept, where, and how much of it.')
