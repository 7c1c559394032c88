/** Which way imports may run between the rooms of lib/: the one table, and the check against it. */
import { posix } from 'node:path'

type Room = {
  /** Files, and folders ending in a slash, that it may import; its own folder always. */
  readonly imports: readonly string[]
  /** Packages and built-in modules it must stay away from, and why. */
  readonly never?: { readonly modules: RegExp; readonly why: string }
}

const words = ['lib/types.ts', 'lib/errors.ts'] as const
const parts = ['config', 'policy', 'evidence', 'trust', 'upstream', 'store'].map(
  r => `lib/${r}/`,
)

export const rooms: Readonly<Record<string, Room>> = {
  'lib/types.ts': { imports: [], never: { modules: /./, why: 'the vocabulary needs nothing' } },
  'lib/errors.ts': { imports: [], never: { modules: /./, why: 'the table needs nothing' } },
  'lib/version.ts': { imports: [] },
  'lib/revision.ts': { imports: [] },
  'lib/maker.ts': { imports: ['lib/version.ts'] },
  'lib/open-store.ts': { imports: [...words, 'lib/config/', 'lib/store/'] },
  'lib/wait-for-store.ts': { imports: [...words, 'lib/http/front.ts'] },
  'lib/open-policies.ts': {
    imports: [
      ...words,
      'lib/version.ts',
      'lib/config/',
      'lib/policy/',
      'lib/rollout/',
      'lib/store/store.ts',
    ],
  },
  'lib/key-id.ts': { imports: [] },
  'lib/at-most.ts': { imports: [] },
  'lib/rooms.ts': {
    imports: [
      ...words,
      'lib/version.ts',
      'lib/maker.ts',
      'lib/open-store.ts',
      'lib/signers.ts',
      ...parts,
      'lib/attest/',
      'lib/gate/',
      'lib/open-policies.ts',
      'lib/rollout/',
    ],
  },
  'lib/signers.ts': {
    imports: [
      ...words,
      'lib/version.ts',
      'lib/config/',
      'lib/attest/',
      'lib/trust/key-folder.ts',
      'lib/gate/summaries.ts',
    ],
  },
  'lib/attestry.ts': {
    imports: [
      'lib/rooms.ts',
      'lib/wait-for-store.ts',
      'lib/version.ts',
      'lib/access/',
      'lib/config/',
      'lib/gate/',
      'lib/http/',
      'lib/rekor/',
      'lib/rollout/',
      'lib/sealing/',
      'lib/transparency/',
      'lib/trust/',
    ],
  },
  'lib/index.ts': { imports: ['lib/'] },
  'lib/config/': {
    // names of packages are written in settings as they are in policies
    imports: [...words, 'lib/upstream/default-registry.ts', 'lib/policy/match.ts'],
  },
  'lib/policy/': {
    imports: [
      ...words,
      'lib/key-id.ts',
      'lib/config/document.ts',
      'lib/config/nearest.ts',
      'lib/config/units.ts',
    ],
    never: {
      // node:module to load the language of conditions where one is read
      modules: /^(node:(?!crypto$|module$)|undici$|pino$|lru-cache$)/,
      why: 'judging is pure: no I/O and no clock',
    },
  },
  'lib/learn/': {
    imports: [...words, 'lib/policy/'],
    never: {
      modules: /^(node:(?!util$)|undici$|pino$|lru-cache$)/,
      why: 'learning is pure: observations in, a policy out',
    },
  },
  'lib/evidence/': {
    // a root's scope is written as subjects are in policies
    imports: [
      ...words,
      'lib/key-id.ts',
      'lib/revision.ts',
      'lib/upstream/default-registry.ts',
      'lib/policy/glob.ts',
    ],
    never: {
      modules:
        /^(node:(http|http2|https|net|tls|dns|dgram|fs|sqlite)\b|undici$|npm-registry-fetch$|sigstore$|@sigstore\/tuf$)/,
      why: 'cryptography over bytes handed in: no network and no files',
    },
  },
  'lib/trust/': { imports: [...words, 'lib/key-id.ts', 'lib/revision.ts'] },
  'lib/attest/': {
    imports: [...words, 'lib/key-id.ts', 'lib/version.ts', 'lib/trust/registry-key.ts'],
    never: { modules: /^(node:fs\b|koa$|jackspeak$)/, why: 'keys and tokens are handed in' },
  },
  'lib/lockfile/': {
    imports: [...words, 'lib/config/document.ts'],
    never: {
      modules: /^(node:(http|http2|https|net|tls|dns|dgram)\b|undici$|npm-registry-fetch$)/,
      why: 'text in, packages out: no network',
    },
  },
  'lib/upstream/': { imports: words },
  'lib/transparency/': {
    imports: words,
    never: {
      modules: /^(node:(?!crypto$)|undici$|pino$|lru-cache$)/,
      why: 'trees and signatures over bytes handed in: no I/O and no clock',
    },
  },
  'lib/store/': {
    imports: [...words, 'lib/at-most.ts', 'lib/transparency/'],
    never: { modules: /^(undici|koa|npm-registry-fetch)$/, why: 'a store knows no registry' },
  },
  'lib/sealing/': {
    imports: [...words, 'lib/transparency/', 'lib/store/store.ts'],
    never: { modules: /^(undici|koa|npm-registry-fetch)$/, why: 'signing needs no network' },
  },
  'lib/rollout/': {
    imports: [...words, 'lib/config/', 'lib/policy/', 'lib/store/store.ts'],
    never: {
      modules: /^(undici|koa|postgres|node:sqlite)$/,
      why: 'one interface for all stores',
    },
  },
  'lib/rekor/': {
    imports: [...words, 'lib/transparency/', 'lib/store/store.ts', 'lib/attest/service.ts'],
    never: {
      modules: /^(node:(fs|http|https|net)|koa$)/,
      why: 'asks through one guarded call',
    },
  },
  'lib/access/': { imports: [...words, 'lib/store/store.ts', 'lib/policy/glob.ts'] },
  'lib/observe/': { imports: words },
  'lib/gate/': {
    imports: [...words, 'lib/at-most.ts', ...parts, 'lib/attest/'],
    never: { modules: /^(koa|jackspeak|prom-client)$/, why: 'the gate knows no front end' },
  },
  'lib/http/': {
    imports: [
      ...words,
      'lib/at-most.ts',
      'lib/access/',
      'lib/gate/',
      'lib/observe/',
      'lib/transparency/',
      'lib/upstream/loop.ts',
    ],
  },
  'lib/cli/': { imports: ['lib/'] },
  'bin/': { imports: ['lib/cli/'] },
}

const quoted = `(['"])([^'"\\n]+)\\1`
const forms = [
  // nothing quoted before it on its line, or it is prose
  `^[^'"\`\\n]*\\b(?:from|import)\\s+${quoted}`,
  `\\bimport\\(\\s*${quoted}`,
  `\\bnew URL\\(\\s*${quoted}\\s*,\\s*import\\.meta\\.url`,
  `\\bcreateRequire\\(import\\.meta\\.url\\)(?:\\.resolve)?\\(\\s*${quoted}`,
  `\\bimport\\.meta\\.resolve\\(\\s*${quoted}`,
].map(source => new RegExp(source, 'gm'))

const withoutComments = (source: string) =>
  source.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$|\s\/\/ .*$/gm, '')

/** Everything a source names as a module, in any of the ways a module can be named here. */
export const specifiers = (source: string): string[] => {
  const code = withoutComments(source)
  return forms.flatMap(form => Array.from(code.matchAll(form), match => match[2] ?? ''))
}

const packageName = (specifier: string) =>
  specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')

const within = (file: string, places: readonly string[]) =>
  places.some(place => (place.endsWith('/') ? file.startsWith(place) : file === place))

/**
 * What is wrong with one source file's imports, one sentence each. `file` is relative to the
 * repository's root, with slashes; `installed` are the packages that users of ours will have.
 */
export const importComplaints = (
  file: string,
  source: string,
  installed: ReadonlySet<string>,
): string[] => {
  const entry = Object.entries(rooms).find(([room]) => within(file, [room]))
  if (entry === undefined) return [`${file}: no room in the table of test/support/imports.ts`]
  const [name, room] = entry
  const complaints: string[] = []
  if (/\bimport\((?!\s*['"])/.test(withoutComments(source)))
    complaints.push(`${file}: import() of something that is not a literal cannot be checked`)
  for (const specifier of specifiers(source)) {
    const say = (what: string) => complaints.push(`${file}: ${specifier}: ${what}`)
    if (specifier.startsWith('.')) {
      const target = posix.join(posix.dirname(file), specifier)
      const own = name.endsWith('/') ? [name] : []
      if (!within(target, [...room.imports, ...own]))
        say(`${name} may import only ${[...own, ...room.imports].join(', ') || 'nothing'}`)
      continue
    }
    if (room.never?.modules.test(specifier) === true) say(`not in ${name}: ${room.never.why}`)
    else if (!specifier.startsWith('node:') && !installed.has(packageName(specifier)))
      say('not among the dependencies of package.json')
  }
  if (/\bnew URL\(\s*(['"`])\.[^'"`\n]*\.ts\1/.test(source))
    complaints.push(
      `${file}: tsc leaves the .ts in new URL() as it is; use extname(import.meta.url)`,
    )
  return complaints
}
