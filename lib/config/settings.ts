/**
 * The settings in force: attestry.yaml, under `ATTESTRY_…` variables, under what the command line
 * says. Everything wrong is said at once, each with its file:line:column, variable or flag.
 */
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { isAbsolute, resolve } from 'node:path'
import { AttestryError } from '../errors.ts'
import {
  complaintText,
  findingsOf,
  parseLocated,
  type Finding,
  type Place,
} from './document.ts'
import {
  assign,
  expandSecrets,
  mapTexts,
  readVariables,
  type Assignment,
  type Environment,
} from './environment.ts'
import { isSecret } from './keys.ts'
import { leafInfo, type Listen } from './leaves.ts'
import { branches, schemasAt } from './schema-walk.ts'
import { settingsSchema, type CheckedSettings } from './schema.ts'
import { Secret } from './secret.ts'
import { readSettingsFile, settingsFileOf } from './settings-file.ts'

type DeepReadonly<T> = T extends Secret
  ? T
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T

/** Durations in milliseconds, sizes in bytes, paths absolute. The first upstream is the default one. */
export type Settings = DeepReadonly<Omit<CheckedSettings, 'publicUrl'>> & {
  /** Ends with a slash. With port 0 use `publicUrlOf` once the port is known. */
  readonly publicUrl: string
  /** False when it was made from `listen`. */
  readonly publicUrlGiven: boolean
  /** The file that was read, when there was one. */
  readonly file?: string
}
export type UpstreamSettings = Settings['upstreams'][number]

/** What the command line may say; paths are relative to the working directory. */
export type Overrides = {
  readonly listen?: string
  readonly publicUrl?: string
  /** In place of all configured policies. */
  readonly policy?: readonly string[]
  readonly storage?: string
  /** URL of the first upstream. */
  readonly upstream?: string
  readonly logLevel?: string
}

type SaidFinding = { text: string; place: Partial<Place>; source?: string }

/** `http://host:port/`, or https; a wildcard address becomes loopback. */
export const publicUrlOf = ({ host, port }: Listen, tls = false): string => {
  const name = { '0.0.0.0': '127.0.0.1', '::': '::1' }[host] ?? host
  return `http${tls ? 's' : ''}://${name.includes(':') ? `[${name}]` : name}:${port}/`
}

const overrideAssignments = (overrides: Overrides, raw: unknown): Assignment[] => {
  const upstreams = (raw as { upstreams?: object }).upstreams ?? { npm: {} }
  const first = Object.keys(upstreams)[0] ?? 'npm'
  const { listen, publicUrl, policy, storage, upstream, logLevel } = overrides
  const all: [flag: string, path: string[], value: unknown][] = [
    ['--listen', ['listen'], listen],
    ['--public-url', ['publicUrl'], publicUrl],
    ['--policy', ['policies'], policy],
    // what is named on the command line judges, whatever is published
    ['--policy', ['policySource'], policy && 'files'],
    ['--storage', ['storage', 'path'], storage],
    ['--upstream', ['upstreams', first, 'url'], upstream],
    ['--log-level', ['log', 'level'], logLevel],
  ]
  return all
    .filter(([, , value]) => value !== undefined)
    .map(([source, path, value]) => ({ source, path, value }))
}

const entryAt = (path: readonly PropertyKey[]) => {
  const infos = schemasAt(settingsSchema, path).flatMap(s =>
    [s, ...branches(s)].map(layer => leafInfo.get(layer)?.entry),
  )
  return infos.find(entry => entry !== undefined)
}

/** `inner` is `outer` or lies below it. */
const within = (outer: readonly PropertyKey[], inner: readonly PropertyKey[]) =>
  outer.length <= inner.length && outer.every((part, i) => String(inner[i]) === String(part))

const freeze = <T>(value: T): T => {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    for (const inner of Object.values(value)) freeze(inner)
    Object.freeze(value)
  }
  return value
}

/**
 * Throws ECONFIG with every complaint, one a line. The file is `file`, else the variable
 * ATTESTRY_CONFIG, else `attestry.yaml` in `cwd` where there is one, else none: all defaults.
 */
export const loadSettings = async (options: {
  readonly file?: string
  readonly env: Environment
  readonly cwd: string
  readonly overrides?: Overrides
  /** What the file held when it was read before: taken in place of what it holds now. */
  readonly held?: string
}): Promise<Settings> => {
  const { env, cwd, overrides = {} } = options
  const file = settingsFileOf(options)
  const text = options.held ?? (await readSettingsFile(options))
  const document = parseLocated(text ?? '', { file, code: 'ECONFIG' })

  const variables = readVariables(env, document.value)
  const assignments = [
    ...variables.assignments,
    ...overrideAssignments(overrides, document.value),
  ]
  /** Who set the value at `path`, when it was not the file. */
  const sourceOf = (path: readonly PropertyKey[]) =>
    assignments.findLast(assignment => within(assignment.path, path))?.source
  const say = ({ path, message }: Finding): SaidFinding => {
    // without a file a complaint about several keys together can only be about what was set
    const near = () => assignments.findLast(assignment => within(path, assignment.path))?.source
    const source = sourceOf(path) ?? (text === undefined ? near() : undefined)
    if (source !== undefined) return { text: `${source}: ${message}`, place: {}, source }
    const place = document.place(path)
    return { text: complaintText({ ...place, message }), place }
  }
  const fail = (findings: readonly Finding[]) => {
    const said = [
      ...variables.complaints.map(c => ({
        text: `${c.source}: ${c.message}`,
        ...c,
        place: {},
      })),
      ...findings
        .map(finding => ({ ...finding, ...say(finding) }))
        .sort((a, b) => (a.place.line ?? 0) - (b.place.line ?? 0)),
    ]
    return new AttestryError('ECONFIG', said.map(s => s.text).join('\n'), {
      details: {
        complaints: said.map(({ message, source, place }) => ({
          message,
          ...(source !== undefined && { source }),
          ...place,
        })),
      },
    })
  }

  // secrets are filled in before the variables come on top: what a variable holds is taken as it is
  const expanded = expandSecrets(document.value, env)
  const folder = resolve(file, '..')
  const raw = mapTexts(assign(expanded.value, assignments), (value, path) => {
    if (value === '' || isAbsolute(value) || entryAt(path) === undefined) return value
    return resolve(sourceOf(path) === undefined ? folder : cwd, value)
  })
  const findings: Finding[] = expanded.complaints.filter(
    ({ path }) => sourceOf(path) === undefined,
  )
  const result = settingsSchema.safeParse(raw)
  if (!result.success) {
    // what a secret lacks for want of its variable has been said
    const said = new Set(findings.map(({ path }) => path.join('.')))
    const found = findingsOf(result.error, { raw, schema: settingsSchema, hide: isSecret })
    findings.push(...found.filter(({ path }) => !said.has(path.join('.'))))
  }
  // those of the command line stand in place of all, whatever views there are
  if (result.success && overrides.policy === undefined)
    findings.push(...emptyViews(result.data))
  findings.push(...(await missingFiles(raw)))
  if (!result.success || findings.length > 0 || variables.complaints.length > 0)
    throw fail(findings)

  const { publicUrl, storage, ...rest } = result.data
  return freeze({
    ...rest,
    storage: { ...storage, path: resolve(text === undefined ? cwd : folder, storage.path) },
    publicUrl: publicUrl ?? publicUrlOf(rest.listen, rest.server.tls !== undefined),
    publicUrlGiven: publicUrl !== undefined,
    ...(text !== undefined && { file }),
  })
}

/** Views that add nothing. */
const emptyViews = ({ policySource, views }: CheckedSettings): Finding[] =>
  Object.entries(views)
    .filter(([, { policies }]) => policySource === 'files' && policies.length === 0)
    .map(([name]) => ({
      path: ['views', name, 'policies'],
      message: `views.${name}.policies: wanted at least one policy file`,
    }))

/** Files that the settings name and nobody can read. */
const missingFiles = async (raw: unknown): Promise<Finding[]> => {
  const named: { path: readonly string[]; file: string }[] = []
  mapTexts(raw, (value, path) => {
    if (entryAt(path) === 'file' && isAbsolute(value)) named.push({ path, file: value })
    return value
  })
  const checked = await Promise.all(
    named.map(({ path, file }) =>
      access(file, constants.R_OK).then(
        () => [],
        (error: NodeJS.ErrnoException) => [
          {
            path,
            message: `${path.join('.')}: cannot read ${file} (${error.code ?? error.message})`,
          },
        ],
      ),
    ),
  )
  return checked.flat()
}
