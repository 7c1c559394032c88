/**
 * The settings of attestry.yaml: every key with its default and what it does. From this one place
 * come the check, the JSON Schema, the environment variables and the table in docs/configuration.md.
 * A key stands here only when something obeys it.
 */
import { availableParallelism } from 'node:os'
import { z } from 'zod'
import { npmRegistry } from '../upstream/default-registry.ts'
import {
  baseUrl,
  choice,
  duration,
  integer,
  leafInfo,
  listen,
  origin,
  path,
  secret,
  size,
} from './leaves.ts'
import { parseDuration, parseSize } from './units.ts'

const ms = (text: string) => parseDuration(text) ?? Number.NaN
const bytes = (text: string) => parseSize(text) ?? Number.NaN
const wait = { min: 10, max: ms('1h') }
const age = { min: 0, max: ms('365d') }
const memory = { min: bytes('1KiB'), max: bytes('1GiB') }

const fileObject = (description: string) => z.strictObject({ file: path(description, 'file') })

const registryKeys = z
  .union(
    [
      z.enum(['bundled', 'tuf', 'none']),
      fileObject('A keys document as a registry serves it, or as sigstore distributes it.'),
    ],
    { error: 'wanted bundled, none or { file: … }' },
  )
  .transform(value => {
    if (typeof value === 'object') return { kind: 'file' as const, file: value.file }
    return { kind: value === 'none' ? ('none' as const) : ('bundled' as const) }
  })
  .describe(
    'Whose signatures count for this registry: `bundled` are the keys that come with the trust root (`tuf` means the same), `none` takes no signature for proof.',
  )
  .register(leafInfo, { type: '`bundled`, `none` or `{ file: … }`', fileForm: true })

const upstream = z.strictObject({
  url: baseUrl(
    "The registry. Without it the upstream named `npm` is npm's own default registry; every other upstream needs one.",
  ).optional(),
  registryKeys: registryKeys.prefault('bundled'),
  token: secret(
    'Bearer token, sent below `url` only. Not together with `username`.',
  ).optional(),
  username: secret('For basic authentication, with `password`.').optional(),
  password: secret('For basic authentication, with `username`.').optional(),
  timeout: duration(
    'How long the upstream may be silent: while connecting (at most 10s of it), before the answer and inside it. A document may take 4 times this altogether, a tarball 20 times.',
    wait,
  ).prefault('30s'),
  connections: integer('Connections open at once to one host.', { min: 1, max: 1024 }).default(
    32,
  ),
  retries: integer('How often a failed request is made again: no connection, 429 and 5xx.', {
    min: 0,
    max: 10,
  }).default(2),
  ca: path(
    'PEM file of certificate authorities to trust for this upstream besides the usual ones.',
    'file',
  ).optional(),
  tarballOrigins: z
    .array(origin('An origin.'), { error: 'wanted a list of origins' })
    .describe(
      "Other origins that this upstream's packuments may name for tarballs, as in `https://files.example`. Never sent credentials.",
    )
    .register(leafInfo, { type: 'list of origins', list: true })
    .prefault([]),
})

/** The upstream's name is part of log lines, metrics and variables. */
const upstreamName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,39}$/, { error: 'wanted a name of a to z, 0 to 9 and -' })

const upstreams = z
  .record(upstreamName, upstream, { error: 'wanted a mapping of names to upstreams' })
  .transform((named, context) =>
    Object.entries(named).map(([name, settings]) => {
      const { token, username, password } = settings
      const complain = (message: string, ...path: string[]) =>
        context.addIssue({ code: 'custom', message, path: [name, ...path] })
      if (token && (username || password))
        complain('wanted either token or username and password, not both')
      if (!username !== !password) complain('wanted username and password together')
      const url = settings.url ?? (name === 'npm' ? npmRegistry : undefined)
      if (url === undefined) complain('wanted url: only the upstream named npm has a default')
      return { ...settings, name, url: url ?? '' }
    }),
  )
  .refine(list => list.length > 0, { error: 'wanted at least one upstream' })
  .describe(
    'Registries by name. The first one answers for every package that no rule sends elsewhere.',
  )

const root = z
  .union([z.enum(['public-good']), fileObject('A sigstore `trusted_root.json`.')], {
    error: 'wanted public-good or { file: … }',
  })
  .transform(value =>
    typeof value === 'object'
      ? { kind: 'file' as const, file: value.file }
      : { kind: 'public-good' as const },
  )

const workersWanted = 'wanted auto, or a whole number from 1 to 256'

const workers = z
  .union(
    [
      z.int().min(1, { error: workersWanted }).max(256, { error: workersWanted }),
      z.enum(['auto']),
    ],
    { error: workersWanted },
  )
  .transform(value =>
    value === 'auto' ? Math.max(1, Math.min(4, availableParallelism() - 1)) : value,
  )
  .describe(
    'Threads that verify signatures; `auto` is one less than there are processors, and at most 4.',
  )
  .register(leafInfo, { type: '`auto` or whole number', number: true })

export const settingsSchema = z
  .strictObject({
    listen: listen('Where to listen; port 0 takes any free one.').prefault('127.0.0.1:4877'),
    publicUrl: baseUrl(
      'What clients call this server, with any path prefix: tarball URLs begin with it. Default: made from `listen`.',
    ).optional(),
    upstreams: upstreams.prefault({ npm: {} }),
    trust: z
      .strictObject({
        roots: z
          .array(root, { error: 'wanted a list' })
          .min(1, { error: 'wanted at least one trust root' })
          .describe(
            "Whose certificate authorities and logs are trusted: sigstore's public good instance, and files.",
          )
          .register(leafInfo, {
            type: 'list of `public-good` or `{ file: … }`',
            list: true,
            fileForm: true,
          })
          .prefault(['public-good']),
      })
      .describe('Sigstore trust roots.')
      .prefault({}),
    policies: z
      .array(path('A policy file.', 'file'), { error: 'wanted a list of files' })
      .describe('Policy files; every one must allow. Without any the built-in baseline holds.')
      .register(leafInfo, { type: 'list of files', list: true })
      .default([]),
    storage: z
      .strictObject({
        path: path('Where tarballs, facts and the audit log are kept.', 'folder').prefault(
          './.attestry',
        ),
        maxSize: size('Tarballs kept on disk; the least recently used go first.', {
          min: bytes('1MiB'),
          max: bytes('1024TiB'),
        }).prefault('20GiB'),
        memory: size('Small tarballs and packuments kept in memory.', {
          min: bytes('1MiB'),
          max: bytes('1TiB'),
        }).prefault('256MiB'),
      })
      .describe('What is kept, and how much of it.')
      .prefault({}),
    cache: z
      .strictObject({
        packumentTtl: duration(
          'How long a packument is served before the upstream is asked again.',
          age,
        ).prefault('5m'),
        negativeTtl: duration('How long "no such package" is remembered.', age).prefault('1m'),
        staleIfError: duration(
          'How long past its time a packument is still served while the upstream does not answer.',
          age,
        ).prefault('7d'),
        recheck: duration(
          'How long until evidence that could not be fetched is asked for again.',
          age,
        ).prefault('10m'),
      })
      .describe('How long answers of the upstream hold.')
      .prefault({}),
    limits: z
      .strictObject({
        packument: size('Largest packument, decompressed.', memory).prefault('128MiB'),
        tarball: size('Largest tarball, as it is downloaded.', {
          min: bytes('1KiB'),
          max: bytes('64GiB'),
        }).prefault('512MiB'),
        unpacked: size('Largest content of a tarball.', {
          min: bytes('1KiB'),
          max: bytes('256GiB'),
        }).prefault('4GiB'),
        attestations: size('Largest attestations document.', memory).prefault('4MiB'),
        keys: size('Largest keys document.', memory).prefault('256KiB'),
      })
      .describe('The most that is taken from an upstream.')
      .prefault({}),
    verification: z
      .strictObject({
        workers: workers.prefault('auto'),
        timeout: duration('The longest one verification may take.', wait).prefault('30s'),
      })
      .describe('The threads that verify signatures.')
      .prefault({}),
    server: z
      .strictObject({
        requestTimeout: duration(
          'The longest a client may take to send its request.',
          wait,
        ).prefault('60s'),
      })
      .describe('How clients are treated.')
      .prefault({}),
    log: z
      .strictObject({
        level: choice('The least severe kind of entry that is logged.', [
          'fatal',
          'error',
          'warn',
          'info',
          'debug',
          'trace',
          'silent',
        ]).default('info'),
        format: choice('`auto` is pretty on a terminal and json elsewhere.', [
          'auto',
          'pretty',
          'json',
        ]).default('auto'),
      })
      .describe('The log on stderr.')
      .prefault({}),
  })
  .describe('Settings of the Attestry server.')

/** What the schema makes of a file: durations in milliseconds, sizes in bytes, paths absolute. */
export type CheckedSettings = z.output<typeof settingsSchema>
