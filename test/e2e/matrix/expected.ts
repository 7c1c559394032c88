/** The table: what each client is to do and to show in each scenario, or why it cannot. */
import type { ClientName } from '../../support/clients.ts'
import type { Scenario } from './scenarios.ts'

export type Cell = {
  readonly ends: 'well' | 'badly'
  /** Installed, among others. */
  readonly has?: readonly string[]
  readonly lacks?: readonly string[]
  /** Everything that is installed. */
  readonly exactly?: readonly string[]
  /** What is printed, part by part; the lines around the matches are what the documentation shows. */
  readonly shows?: readonly RegExp[]
  /** Instead of those lines, where they differ from run to run. */
  readonly told?: string
  readonly note?: string
  /** In the table of outcomes, where it does not follow from what was seen. */
  readonly word?: string
}

/** The client has no such command; `why` says so to people. */
export type Without = { readonly why: string }

/** From the most general to the most special. */
type Columns<T> = { readonly all?: T; readonly npm?: T; readonly pnpm?: T } & {
  readonly [client in ClientName]?: T
}

const cellOf = <T>(columns: Columns<T>, client: ClientName): T => {
  const family = client.replace(/\d+$/, '') as 'npm' | 'pnpm'
  const cell = columns[client] ?? columns[family] ?? columns.all
  if (cell === undefined) throw new Error(`no cell for ${client}`)
  return cell
}

const installs = (has: readonly string[], lacks: readonly string[] = []): Cell => ({
  ends: 'well',
  has,
  lacks,
})
const refuses = (lacks: string, ...shows: readonly RegExp[]): Cell => ({
  ends: 'badly',
  lacks: [lacks],
  shows,
})

const rest = ['app@1.2.0', 'banned@1.0.0', 'extra@1.0.0']
const last = ['host@1.0.0', 'leaf@1.0.0', 'tagged@2.0.0-rc.1', 'widget@1.0.0']
const frozen = (first: readonly string[], ...peers: readonly string[]): Cell => ({
  ends: 'well',
  exactly: [...first, ...rest, ...peers, ...last],
})
/** One copy for all that can share it, or each its own. */
const [one, two] = [['@acme/lib@1.0.0'], ['@acme/lib@1.0.0', '@acme/lib@1.1.0']] as const

const noPeers = (shows: RegExp): Cell => ({
  ends: 'well',
  lacks: ['helper@1.0.0'],
  shows: [shows],
  note: 'installs no peer dependencies by itself, and says so',
  word: 'no',
})

const why = (id: string) => new RegExp(`http://\\S+/-/attestry/why/${id}`)
/** Bun shows where it was led. */
const led = (to: string) => new RegExp(`error: GET \\S+/-/attestry/refused/${to}\\S* - 403`)
const widget = (...shows: readonly RegExp[]) => refuses('widget@1.1.0', ...shows)
const outlaw = (...shows: readonly RegExp[]) => refuses('outlaw@1.0.0', ...shows)
const forged = (...shows: readonly RegExp[]) => refuses('forged@1.0.0', ...shows)
const banned = (...shows: readonly RegExp[]) => refuses('banned@1.1.0', ...shows)
const audited = (...shows: readonly RegExp[]): Cell => ({
  ends: 'badly',
  has: ['banned@1.1.0'],
  shows,
})
const breaksOff = (...shows: readonly RegExp[]): Cell => ({
  ...refuses('tolerant@1.0.0', ...shows),
  note: 'does not do without: it stops',
})
const published = (shows: RegExp): Cell => ({
  ends: 'well',
  has: ['@private/mine@1.0.0'],
  shows: [shows],
})
const loggedIn = (shows: RegExp): Cell => ({ ends: 'well', shows: [shows] })
const asked = /ERR_PNPM_MINIMUM_RELEASE_AGE_VIOLATION/
const absent =
  /banned@1\.1\.0 could not be checked .*\(version not present in registry manifest\)/

const table: Readonly<Record<Scenario, Columns<Cell | Without>>> = {
  range: { all: installs(['app@1.2.0'], ['app@1.0.0']) },
  exact: { all: installs(['leaf@1.0.0'], ['leaf@1.0.1']) },
  scoped: { all: installs(['@acme/lib@1.0.0']) },
  tag: { all: installs(['tagged@2.0.0-rc.1'], ['tagged@1.0.0']) },
  optional: { all: installs(['extra@1.0.0']) },
  peer: {
    all: installs(['helper@1.0.0']),
    yarn1: noPeers(/warning .*host@1\.0\.0" has unmet peer dependency "helper@\^1\.0\.0"/),
    yarn4: noPeers(/YN0002: .*helper/),
  },
  frozen: {
    all: frozen(one, 'helper@1.0.0'),
    yarn1: frozen(two),
    yarn4: frozen(two),
  },
  older: { all: installs(['widget@1.0.0'], ['widget@1.1.0']) },
  latest: { all: installs(['banned@1.0.0'], ['banned@1.1.0']) },
  pinned: {
    npm: widget(
      /error code E403/,
      /error 403 Could not download widget@1\.1\.0 due to policy violations:/,
      /403 widget@1\.1\.0 NO_PROVENANCE: .* DOWNGRADED: /,
      why('widget@1\\.1\\.0'),
    ),
    pnpm: widget(
      /ERR_PNPM_NO_MATCHING_VERSION/,
      /No matching version found for\s.*widget@1\.1\.0/,
      /The latest release of widget is "1\.0\.0"/,
      /REFUSED NO_PROVENANCE: provenance is required and there is none\.[^]*why\/widget@1\.1\.0/,
    ),
    yarn1: widget(/Couldn't find any versions for "widget" that matches "1\.1\.0"/),
    yarn4: widget(/YN0082: .*widget@npm:1\.1\.0: No candidates found/),
    bun: widget(/No version matching "1\.1\.0" found for specifier "widget"/),
    deno: widget(/Could not find npm package 'widget' matching '1\.1\.0'/),
  },
  all: {
    npm: outlaw(
      /npm notice outlaw@1\.0\.0 is refused by policy\. DENIED: nobody maintains it\./,
      /error code E403/,
      /403 Refused by policy outlaw@1\.0\.0 DENIED nobody maintains it - GET .*\/outlaw - /,
    ),
    pnpm: outlaw(/ERR_PNPM_FETCH_403.* Refused by policy outlaw@1\.0\.0 DENIED nobody/),
    pnpm12: outlaw(/ERR_PNPM_FETCH_403/, /╰─▶ GET .*\/outlaw: Forbidden - 403/),
    yarn1: outlaw(/error Error: .*\/outlaw: outlaw@1\.0\.0 is refused by policy\. DENIED: /),
    yarn4: outlaw(/YN0035: .*outlaw/, /403 \(Refused by policy outlaw@1\.0\.0 DENIED nobody/),
    bun: outlaw(led('outlaw@1\\.0\\.0/DENIED:_nobody_maintains_it')),
    deno: outlaw(
      /Bad response: 403/,
      /"error":"outlaw@1\.0\.0 is refused by policy\. DENIED: /,
    ),
  },
  tarball: {
    npm: forged(
      /npm notice forged@1\.0\.0 is refused by policy\. WRONG_SUBJECT: /,
      /error code E403/,
      /403 Refused by policy forged@1\.0\.0 WRONG_SUBJECT .* - GET .*forged-1\.0\.0\.tgz/,
    ),
    pnpm: forged(/ERR_PNPM_FETCH_403.* Refused by policy forged@1\.0\.0 WRONG_SUBJECT/),
    pnpm12: forged(
      /ERR_PNPM_TARBALL_SIBLING_FETCH_FAILED/,
      /Tarball server returned HTTP 403 for .*forged-1\.0\.0\.tgz/,
    ),
    yarn1: forged(/forged-1\.0\.0\.tgz: Request failed "403 Forbidden"/),
    yarn4: forged(/YN0035: .*forged@npm/, /403 \(Refused by policy forged@1\.0\.0 WRONG_SUB/),
    bun: forged(led('forged@1\\.0\\.0/WRONG_SUBJECT:_publish_attestation:')),
    deno: forged(
      /Bad response: 403/,
      /"error":"forged@1\.0\.0 is refused by policy\. WRONG_SUB/,
    ),
  },
  locked: {
    npm: banned(
      /npm notice banned@1\.1\.0 is refused by policy\. DENIED: it steals tokens/,
      /error code E403/,
      /403 Refused by policy banned@1\.1\.0 DENIED it steals tokens - GET/,
    ),
    pnpm10: banned(/ERR_PNPM_FETCH_403.* Refused by policy banned@1\.1\.0 DENIED it steals/),
    pnpm11: banned(asked, absent),
    pnpm12: {
      ...banned(/ERR_PNPM_(MINIMUM_RELEASE_AGE_VIOLATION|TARBALL_HTTP_STATUS)/),
      word: 'no reason',
      told: '`ERR_PNPM_MINIMUM_RELEASE_AGE_VIOLATION`, as pnpm 11, or `ERR_PNPM_TARBALL_HTTP_STATUS` with "Tarball server returned HTTP 403": it does both at once, and the first to fail is told',
    },
    yarn1: banned(/banned-1\.1\.0\.tgz: Request failed "403 Forbidden"/),
    yarn4: banned(/YN0035: .*banned@npm/, /403 \(Refused by policy banned@1\.1\.0 DENIED it/),
    bun: banned(led('banned@1\\.1\\.0/DENIED:_it_steals_tokens')),
    deno: banned(
      /Bad response: 403/,
      /"error":"banned@1\.1\.0 is refused by policy\. DENIED: /,
    ),
  },
  'optional refused': {
    all: installs(['tolerant@1.0.0'], ['banned@1.1.0']),
    yarn1: breaksOff(/Couldn't find any versions for "banned" that matches "1\.1\.0"/),
    yarn4: breaksOff(/YN0082: .*banned@npm:1\.1\.0: No candidates found/),
    deno: breaksOff(/Could not find npm package 'banned' matching '1\.1\.0'/),
  },
  audit: {
    npm: audited(
      /^banned/m,
      /Severity: high/,
      /DENIED: it steals tokens - http:.*why\/banned@/,
    ),
    pnpm: audited(/│ high .*│ DENIED: it steals tokens/, why('banned@1\\.1\\.0')),
    yarn1: {
      ...audited(/│ high .*│ DENIED: it steals tokens/),
      word: 'no',
      note: 'asks an address of its own, whatever registry is set; this is what it shows when that leads to Attestry. Use `attestry audit`',
    },
    yarn4: {
      ...audited(/Issue: DENIED: it steals tokens/, why('banned@1\\.1\\.0'), /Severity: high/),
      note: 'with `--no-deprecations`: without, it breaks off at a version that is hidden',
    },
    bun: audited(/^banned@1\.1\.0/m, /high: DENIED: it steals tokens .*why\/banned@1\.1\.0/),
    deno: audited(/DENIED: it steals tokens/, /Severity: +high/, why('banned@1\\.1\\.0')),
  },
  'clean audit': { all: { ends: 'well' } },
  publish: {
    npm: published(/\+ @private\/mine@1\.0\.0/),
    pnpm: published(/Published package @private\/mine@1\.0\.0/),
    pnpm10: {
      ...published(/\+ @private\/mine@1\.0\.0/),
      note: 'has the npm on the PATH do it',
    },
    yarn1: published(/success Published\./),
    yarn4: published(/Package archive published/),
    bun: published(/\+ @private\/mine@1\.0\.0/),
    deno: { why: '`deno publish` publishes to JSR only' },
  },
  login: {
    npm: loggedIn(/Logged in on http:/),
    pnpm: loggedIn(/Logged in on http:/),
    pnpm10: { ...loggedIn(/Logged in on http:/), note: 'has the npm on the PATH do it' },
    yarn1: {
      why: '`yarn login` keeps a name and an address and asks no registry; put a token into `.npmrc`',
    },
    yarn4: loggedIn(/Successfully logged in/),
    bun: {
      why: '`bun login` is reserved for later; put a token into `bunfig.toml` or `.npmrc`',
    },
    deno: { why: 'Deno has no login; put a token into `.npmrc`' },
  },
}

export const expected = (scenario: Scenario, client: ClientName): Cell | Without =>
  cellOf(table[scenario], client)

const older: ReadonlySet<ClientName> = new Set(['npm11', 'pnpm10', 'pnpm11'])
const refusals: ReadonlySet<Scenario> = new Set(['pinned', 'tarball', 'locked', 'audit'])

/** Without `ATTESTRY_MATRIX`: every client, and of two of a kind the older one where it is refused something. */
export const isUsual = (scenario: Scenario, client: ClientName): boolean =>
  !older.has(client) || refusals.has(scenario)
