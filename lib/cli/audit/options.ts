/** The options of `attestry audit`, read into what the audit works with. Throws EUSAGE. */
import { basename } from 'node:path'
import { AttestryError } from '../../errors.ts'
import { parsePattern } from '../../policy/match.ts'
import type { PackagePattern } from '../../policy/policy.ts'
import { helpText, parseArguments } from '../arguments.ts'
import type { Io } from '../io.ts'
import { sessionJack, type SessionValues } from '../session.ts'
import type { Filter } from './subjects.ts'

export const formats = ['json', 'sarif', 'junit', 'markdown'] as const
export type Format = (typeof formats)[number]

/** `-` is stdout. */
export type Destination = { readonly format: Format; readonly file: string }

export type AuditOptions = {
  readonly session: SessionValues
  /** As given; none means that of the working directory. */
  readonly lockfile?: string
  readonly destinations: readonly Destination[]
  readonly annotations: boolean
  readonly filter: Filter
  readonly offline: boolean
  readonly fix: 'no' | 'show' | 'write'
  /** Where clients reach the proxy, when it was said. */
  readonly registry?: string
  readonly strict: boolean
  readonly all: boolean
  /** Where the verification summaries go, as given. */
  readonly vsa?: string
}

const usage = 'attestry audit [lockfile] [options]'
const description =
  'Judge every package version of a lockfile, and find entries that clients would fetch past the proxy. Exits with 0 when all is clean, 1 when something is refused, 2 when it could not be told.'

const auditJack = () =>
  sessionJack(usage, description)
    .opt({
      json: { hint: 'file', description: 'Write JSON, to stdout when no file is named.' },
      sarif: { hint: 'file', description: 'Write SARIF 2.1.0, for code scanning.' },
      junit: { hint: 'file', description: 'Write JUnit XML, for CI servers.' },
      markdown: { hint: 'file', description: 'Write Markdown, for summaries.' },
      registry: {
        hint: 'url',
        description: 'Where clients reach the proxy; default the publicUrl of the settings.',
      },
      vsa: {
        hint: 'file',
        description:
          'Write a signed verification summary for everything that is admitted: into one file, a line each, or into a folder (a path with a slash at its end). Fetches what is not in the store.',
      },
    })
    .optList({
      omit: {
        hint: 'kind',
        validOptions: ['dev', 'optional'] as const,
        description: 'Leave out what only development needs, or what is optional.',
      },
      only: { hint: 'pattern', description: 'Judge these only, as in "@scope/*".' },
      exclude: { hint: 'pattern', description: 'Leave these out.' },
    })
    .flag({
      annotations: {
        description: 'Print GitHub annotations; on by itself in GitHub Actions.',
      },
      all: { description: 'Show long lists whole.' },
      offline: { description: 'Ask no registry: judge by what the store knows.' },
      fix: { description: 'Point entries that go past the proxy at it, where that is safe.' },
      'dry-run': { description: 'With --fix: show what it would change.' },
      strict: { description: 'Count an entry that goes past the proxy as refused.' },
    })

/** jackspeak's options want a value; `--json` alone means stdout. What follows `--` is no option. */
const withDestinations = (args: readonly string[]): string[] => {
  const end = args.indexOf('--')
  const bare = new Set(formats.map(format => `--${format}`))
  return args.map((arg, i) => (bare.has(arg) && (end === -1 || i < end) ? `${arg}=-` : arg))
}

/** `--json out.json` would print, and take the report that is to be for a lockfile. */
const checkNamed = (args: readonly string[], lockfile = ''): void => {
  const option = args[args.indexOf(lockfile) - 1]
  const isReport =
    /\.(json|sarif|xml|md)$/.test(lockfile) && !/lock|shrinkwrap/.test(basename(lockfile))
  if (isReport && formats.some(format => option === `--${format}`))
    throw new AttestryError(
      'EUSAGE',
      `${option} ${lockfile}: a report's file is named with =, as in ${option}=${lockfile}`,
    )
}

const patternsOf = (option: string, texts: readonly string[] = []): PackagePattern[] =>
  texts.map(text => {
    const pattern = parsePattern(text)
    if (!('complaint' in pattern)) return pattern
    const message = `--${option}: ${JSON.stringify(text)} ${pattern.complaint}`
    throw new AttestryError('EUSAGE', message)
  })

const registryOf = (text: string): string => {
  const url = URL.parse(text)
  if (url && /^https?:$/.test(url.protocol) && url.search === '' && url.hash === '')
    return url.href.endsWith('/') ? url.href : `${url.href}/`
  const found = JSON.stringify(text)
  throw new AttestryError('EUSAGE', `--registry: found ${found}; wanted an http or https URL`)
}

/** What was asked for, or the text that explains how to ask. */
export const readOptions = (
  args: readonly string[],
  env: Io['env'],
): AuditOptions | { readonly help: string } => {
  const command = auditJack()
  const { values, positionals } = parseArguments(command, withDestinations(args))
  if (values.help) return { help: helpText(command) }
  const [lockfile, ...more] = positionals
  if (more.length > 0) {
    const found = positionals.map(text => JSON.stringify(text)).join(' ')
    const hint = 'files for reports are named with =, as in --sarif=FILE'
    throw new AttestryError('EUSAGE', `wanted one lockfile, found ${found} (${hint})`)
  }
  checkNamed(args, lockfile)
  const destinations = formats.flatMap(format => {
    const file = values[format]
    if (file === '') throw new AttestryError('EUSAGE', `--${format}= names no file`)
    return file === undefined ? [] : [{ format, file }]
  })
  const printed = destinations.filter(({ file }) => file === '-')
  if (printed.length > 1) {
    const both = printed.map(({ format }) => `--${format}`).join(' and ')
    const message = `${both} cannot both be printed: name a file, as in --${printed[0]?.format}=FILE`
    throw new AttestryError('EUSAGE', message)
  }
  if (values['dry-run'] && !values.fix)
    throw new AttestryError('EUSAGE', '--dry-run only means something with --fix')
  if (values.vsa !== undefined && values.offline)
    throw new AttestryError('EUSAGE', '--vsa needs the bytes, and --offline fetches none')
  const { registry, config, storage, upstream, policy, vsa } = values
  return {
    session: { config, storage, upstream, policy },
    ...(lockfile !== undefined && { lockfile }),
    destinations,
    annotations: values.annotations ?? env.GITHUB_ACTIONS === 'true',
    filter: {
      omit: values.omit ?? [],
      only: patternsOf('only', values.only),
      exclude: patternsOf('exclude', values.exclude),
    },
    offline: values.offline ?? false,
    fix: values.fix ? (values['dry-run'] ? 'show' : 'write') : 'no',
    ...(registry !== undefined && { registry: registryOf(registry) }),
    strict: values.strict ?? false,
    all: values.all ?? false,
    ...(vsa !== undefined && { vsa }),
  }
}
