/**
 * The settings of attestry.yaml: every key with its default and what it does. From this one place
 * come the check, the JSON Schema, the environment variables and the table in docs/configuration.md.
 * A key stands here only when something obeys it.
 */
import { availableParallelism } from 'node:os'
import { z } from 'zod'
import { auditLog } from './audit-log-schema.ts'
import { adminToken, instanceName, oidc, tls, trustedProxies, views } from './access-schema.ts'
import {
  baseUrl,
  choice,
  duration,
  flag,
  integer,
  leafInfo,
  listen,
  path,
  size,
} from './leaves.ts'
import { storage } from './storage-schema.ts'
import { summaries } from './summaries-schema.ts'
import { parseDuration, parseSize } from './units.ts'
import { trustRoots } from './trust-schema.ts'
import { upstreams } from './upstream-schema.ts'

const ms = (text: string) => parseDuration(text) ?? Number.NaN
const bytes = (text: string) => parseSize(text) ?? Number.NaN
const wait = { min: 10, max: ms('1h') }
const age = { min: 0, max: ms('365d') }
const memory = { min: bytes('1KiB'), max: bytes('1GiB') }

const countWanted = 'wanted auto, or a whole number from 1 to 256'

const countOrAuto = z.union(
  [z.int().min(1, { error: countWanted }).max(256, { error: countWanted }), z.enum(['auto'])],
  { error: countWanted },
)

const processes = countOrAuto
  .transform(value => (value === 'auto' ? availableParallelism() : value))
  .describe(
    'Processes that serve, on one port and one store; `auto` is one for each processor. Memory and verification threads are shared out among them.',
  )
  .register(leafInfo, { type: '`auto` or whole number', number: true })

const workers = countOrAuto
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
        roots: trustRoots(
          "Whose certificate authorities and logs are trusted: sigstore's public good instance, TUF repositories, files, your own keys.",
        ).prefault(['public-good']),
        refresh: duration(
          'How often a server asks TUF repositories for a newer root and newer keys; `0s` never asks.',
          { min: 0, max: ms('30d') },
        ).prefault('12h'),
        watchLogs: integer(
          'Of how many in a hundred newly verified packages the transparency log is asked whether it shows everybody the same history.',
          { min: 0, max: 100 },
        ).default(0),
      })
      .describe('Sigstore trust roots.')
      .prefault({}),
    policies: z
      .array(path('A policy file.', 'file'), { error: 'wanted a list of files' })
      .describe('Policy files; every one must allow. Without any the built-in baseline holds.')
      .register(leafInfo, { type: 'list of files', list: true })
      .default([]),
    policySource: choice(
      'Where the policies come from: the files that `policies` and `views` name, or the store, as `attestry policy publish` put them there for all instances.',
      ['files', 'store'],
    ).default('files'),
    access: choice(
      'Who may use the server: everybody, or those who bring a token of `attestry token` or of an issuer in `oidc`.',
      ['anonymous', 'tokens'],
    ).default('anonymous'),
    oidc,
    views,
    summaries,
    storage: storage.prefault({}),
    auditLog,
    cache: z
      .strictObject({
        packumentTtl: duration(
          'How long a packument is served before the upstream is asked again.',
          age,
        ).prefault('5m'),
        negativeTtl: duration(
          'How long "there is none" is remembered, of packages, attestations and keys.',
          age,
        ).prefault('1m'),
        staleIfError: duration(
          'How long past its time a packument is still served while the upstream does not answer.',
          age,
        ).prefault('7d'),
        staleWhileRevalidate: duration(
          'How long past its time a packument is served at once while the upstream is asked behind.',
          age,
        ).prefault('0s'),
        offline: flag(
          'Never ask an upstream: what the store holds is all there is, whatever its age.',
        ).default(false),
        recheck: duration(
          'How long until evidence that could not be fetched is asked for again.',
          age,
        ).prefault('10m'),
      })
      .describe('How long answers of the upstream hold.')
      .prefault({}),
    observe: z
      .strictObject({
        deprecate: flag(
          'Mark versions that observe mode lets through as deprecated, with the reason: clients warn, and most then take another version of the range.',
        ).default(false),
      })
      .describe('What clients see of what only observe mode lets through.')
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
        audit: size(
          'Largest list of packages a client may ask advisories for, decompressed, and largest answer to it.',
          memory,
        ).prefault('32MiB'),
        publish: size('Largest package a client may publish, as it is sent.', {
          min: bytes('1KiB'),
          max: bytes('64GiB'),
        }).prefault('512MiB'),
      })
      .describe('The most that is taken from an upstream, or from a client for one.')
      .prefault({}),
    verification: z
      .strictObject({
        workers: workers.prefault('auto'),
        timeout: duration('The longest one verification may take.', wait).prefault('30s'),
      })
      .describe('The threads that verify signatures.')
      .prefault({}),
    cluster: z
      .strictObject({ workers: processes.prefault(1) })
      .describe('How many processes share the work.')
      .prefault({}),
    server: z
      .strictObject({
        requestTimeout: duration(
          'The longest a client may take to send its request.',
          wait,
        ).prefault('60s'),
        name: instanceName.optional(),
        drain: duration(
          'How long the server goes on serving after it is told to stop, while it says that it is not ready.',
          { min: 0, max: ms('10m') },
        ).prefault('0s'),
        trustedProxies,
        tls,
        adminToken,
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
  .superRefine(({ policySource, policies, views: named }, context) => {
    const lists: [path: string[], files: readonly string[]][] = [
      [['policies'], policies],
      ...Object.entries(named).map(([name, view]): [string[], readonly string[]] => [
        ['views', name, 'policies'],
        view.policies,
      ]),
    ]
    for (const [path, files] of lists) {
      if (policySource === 'files' || files.length === 0) continue
      const message =
        'with policySource: store no files are read; publish them with `attestry policy publish`, and take them out here'
      context.addIssue({ code: 'custom', message, path })
    }
  })
  .superRefine(({ oidc: issuers, views: named }, context) => {
    for (const [name, { view }] of Object.entries(issuers)) {
      if (view === undefined || Object.hasOwn(named, view)) continue
      const message = `there is no view ${view}; views: names them`
      context.addIssue({ code: 'custom', message, path: ['oidc', name, 'view'] })
    }
  })
  .describe('Settings of the Attestry server.')

/** What the schema makes of a file: durations in milliseconds, sizes in bytes, paths absolute. */
export type CheckedSettings = z.output<typeof settingsSchema>
