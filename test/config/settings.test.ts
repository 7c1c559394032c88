import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import { parse } from 'yaml'
import { z } from 'zod'
import type { Environment } from '../../lib/config/environment.ts'
import { settingsJsonSchema } from '../../lib/config/json-schema.ts'
import { settingKeys, variableName } from '../../lib/config/keys.ts'
import { settingsTable } from '../../lib/config/reference.ts'
import { branches } from '../../lib/config/schema-walk.ts'
import { settingsSchema } from '../../lib/config/schema.ts'
import { hidden } from '../../lib/config/secret.ts'
import { loadSettings, publicUrlOf, type Overrides } from '../../lib/config/settings.ts'
import { AttestryError } from '../../lib/errors.ts'
import { npmRegistry } from '../../lib/upstream/default-registry.ts'

const root = resolve(import.meta.dirname, '../..')
const text = (path: string) => readFile(join(root, path), 'utf8')

type Said = { message: string; source?: string; line?: number; column?: number }

/** A folder with these files, and what loading the settings there gives. */
const at = (t: Tap, files: Record<string, string> | string = {}) => {
  const cwd = t.testdir(typeof files === 'string' ? { 'attestry.yaml': files } : files)
  const load = (env: Environment = {}, overrides: Overrides = {}, file?: string) =>
    loadSettings({ env, cwd, overrides, ...(file !== undefined && { file }) })
  const complaints = async (...args: Parameters<typeof load>): Promise<Said[]> => {
    const error: unknown = await load(...args).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    if (!(error instanceof AttestryError) || error.code !== 'ECONFIG')
      throw new Error('wanted ECONFIG', { cause: error })
    return error.details['complaints'] as Said[]
  }
  return { cwd, load, complaints }
}
type Tap = { testdir: (fixture: Record<string, string>) => string }

t.test('without a file everything has its default', async t => {
  const { cwd, load } = at(t)
  const settings = await load()
  t.match(settings, {
    listen: { host: '127.0.0.1', port: 4877 },
    publicUrl: 'http://127.0.0.1:4877/',
    publicUrlGiven: false,
    upstreams: [{ name: 'npm', url: npmRegistry, timeout: 30_000, retries: 2 }],
    trust: { roots: [{ kind: 'public-good' }] },
    policies: [],
    storage: { path: join(cwd, '.attestry') },
    limits: { packument: 134_217_728, tarball: 536_870_912, keys: 262_144 },
  })
  t.equal(settings.file, undefined)
  t.ok(settings.verification.workers >= 1)
})

t.test('config/attestry.yaml is exactly the defaults, and shows every key', async t => {
  const shipped = await text('config/attestry.yaml')
  const { file, ...written } = await at(t, shipped).load()
  t.match(file, /attestry\.yaml$/)
  t.strictSame(written, await at(t).load())
  // what has no default stands in a comment; taking the comment signs away must give known keys
  for (const { path } of settingKeys) {
    const last = path.at(-1) ?? ''
    const key = last === '*' ? (path.at(-2) ?? '') : last
    t.match(shipped, new RegExp(String.raw`^ *(# +)?${key}:`, 'm'), path.join('.'))
  }
})

t.test('config/example.attestry.yaml uses every key', async t => {
  const example = await text('config/example.attestry.yaml')
  const used = new Set<string>()
  const walk = (value: unknown, path: readonly string[]) => {
    const name = path
      .map((part, i) => {
        const named = i === 1 && ['upstreams', 'oidc', 'views'].includes(path[0] ?? '')
        return named || path[i - 1] === 'claims' ? '*' : part
      })
      .join('.')
    used.add(name)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return
    for (const [key, inner] of Object.entries(value)) walk(inner, [...path, key])
  }
  walk(parse(example), [])
  for (const [, key] of example.matchAll(/^ {2}# (\w+): /gm)) used.add(`summaries.${key}`)
  for (const { path } of settingKeys) t.ok(used.has(path.join('.')), path.join('.'))

  const names = [...example.matchAll(/\.\/[\w.-]+\.(?:pem|json|yaml|token)/g)].map(m => m[0])
  const files = Object.fromEntries(names.map(name => [name.slice(2), 'content']))
  const secrets = [...example.matchAll(/\$\{(\w+)\}/g)].map(m => m[1] ?? '')
  const env = Object.fromEntries(secrets.map(name => [name, `of ${name}`]))
  const settings = await at(t, { ...files, 'attestry.yaml': example }).load(env)
  t.strictSame(
    settings.upstreams.map(u => u.name),
    ['mirror', 'npm', 'acme'],
  )
  t.equal(settings.upstreams[2]?.token?.reveal(), 'of ACME_TOKEN')
})

t.test('the JSON Schema in config/ is the one the settings give', async t => {
  const schema = settingsJsonSchema()
  t.strictSame(JSON.parse(await text('config/attestry.schema.json')), schema)
  const count = (node: unknown, at: readonly string[] = []): string[] => {
    const object = node as { properties?: object; additionalProperties?: unknown }
    if (object.properties)
      return Object.entries(object.properties).flatMap(([k, v]) => count(v, [...at, k]))
    if (typeof object.additionalProperties === 'object')
      return count(object.additionalProperties, [...at, '*'])
    return [at.join('.')]
  }
  t.strictSame(count(schema).sort(), settingKeys.map(k => k.path.join('.')).sort())
})

t.test('the table in docs/configuration.md is the one the settings give', async t => {
  const plain = (markdown: string) =>
    markdown.replaceAll(/ +/g, ' ').replaceAll(/-{3,}/g, '---').trim()
  const [, table = ''] = (await text('docs/configuration.md')).split('## Every key')
  t.equal(plain(table), plain(settingsTable()))
})

t.test('every key says what it does, and every mapping is closed', async t => {
  for (const { path, description } of settingKeys)
    t.match(description, /^\S.{15,}\.$/s, path.join('.'))
  const closed = (schema: z.core.$ZodType, name: string): void => {
    for (const inner of branches(schema)) {
      if (inner instanceof z.ZodRecord) closed(inner.valueType, `${name}.*`)
      if (!(inner instanceof z.ZodObject)) continue
      t.equal(inner.safeParse({ 'no such key': 1 }).success, false, name)
      for (const [key, child] of Object.entries(inner.shape)) closed(child, `${name}.${key}`)
    }
  }
  closed(settingsSchema, 'settings')
})

t.test('where the file is', async t => {
  const { cwd, load } = at(t, { 'attestry.yaml': 'listen: 1', 'b.yaml': 'listen: 2' })
  t.equal((await load()).listen.port, 1)
  t.equal((await load({ ATTESTRY_CONFIG: 'b.yaml' })).listen.port, 2)
  t.equal((await load({ ATTESTRY_CONFIG: 'b.yaml' }, {}, 'attestry.yaml')).listen.port, 1)
  await t.rejects(load({}, {}, 'missing.yaml'), { code: 'ECONFIG' })
  await t.rejects(load({ ATTESTRY_CONFIG: 'missing.yaml' }), { code: 'ECONFIG' })
  await t.rejects(load({}, {}, '.'), { code: 'ECONFIG' }, 'a folder')
  t.equal((await load()).file, join(cwd, 'attestry.yaml'))
})

t.test('variables win over the file, the command line over variables', async t => {
  const { load } = at(
    t,
    'listen: 1\nlog: { level: warn }\ncache: { recheck: 1m, negativeTtl: 1m }',
  )
  const env = { ATTESTRY_LISTEN: '[::1]:2', ATTESTRY_CACHE_RECHECK: '2m' }
  t.match(await load(env), {
    listen: { host: '::1', port: 2 },
    cache: { recheck: 120_000, negativeTtl: 60_000 },
    log: { level: 'warn' },
  })
  t.match(await load(env, { listen: '0.0.0.0:3', upstream: 'http://127.0.0.1:9/x' }), {
    listen: { host: '0.0.0.0', port: 3 },
    publicUrl: 'http://127.0.0.1:3/',
    upstreams: [{ name: 'npm', url: 'http://127.0.0.1:9/x/' }],
  })
})

t.test('every key has a variable that sets it', async t => {
  const files = {
    'a.txt': '',
    'b.txt': '',
    'attestry.yaml': [
      'upstreams: { npm: {}, other: { url: https://other.example/ } }',
      'views: { npm: { policies: [a.txt] } }',
      'oidc: { npm: { issuer: https://a.example, audience: a, claims: { npm: a } } }',
    ].join('\n'),
  }
  const values: Record<string, string> = {
    listen: '127.0.0.1:5',
    publicUrl: 'https://x.example/y',
    'upstreams.*.packages': '@acme/*,internal-*',
    'upstreams.*.evidenceFrom': 'other',
    'upstreams.*.trustRoots': 'file:a.txt',
    'upstreams.*.passThrough': 'write',
    'upstreams.*.clientCredentials': 'forward',
    'upstreams.*.url': 'https://x.example/',
    'upstreams.*.registryKeys': 'file:a.txt',
    'upstreams.*.ca': 'a.txt',
    'upstreams.*.tarballOrigins': 'https://a.example,https://b.example',
    'trust.roots': 'public-good,file:a.txt',
    policies: 'a.txt, b.txt',
    'storage.path': 'store',
    'storage.s3.url': 'https://s3.example/other',
    'verification.workers': '3',
    'cluster.workers': '3',
    access: 'tokens',
    'oidc.*.issuer': 'https://b.example',
    'oidc.*.view': 'npm',
    'views.*.policies': 'b.txt',
    'auditLog.origin': 'npm.example/audit',
    'auditLog.key': 'a.txt',
    'auditLog.formerKeys': 'a.example+00000000+AAAA,b.example+11111111+BBBB',
    'cache.offline': 'true',
    'observe.deprecate': 'true',
    'server.trustedProxies': '127.0.0.1,10.0.0.0/8',
    'server.tls.cert': 'a.txt',
    'server.tls.key': 'b.txt',
    'summaries.verifier': 'https://x.example/verifier',
    'summaries.identityToken': 'b.txt',
    'log.level': 'debug',
    'log.format': 'json',
  }
  const shared = {
    ATTESTRY_STORAGE_S3_URL: 'https://s3.example/bucket',
    ATTESTRY_STORAGE_S3_ACCESS_KEY_ID: 'k',
    ATTESTRY_STORAGE_S3_SECRET_ACCESS_KEY: 's',
    ATTESTRY_STORAGE_POSTGRES_URL: 'postgres://d',
  }
  const { cwd, load } = at(t, files)
  const alone = await load()
  const summary = {
    ATTESTRY_SUMMARIES_VERIFIER: 'https://v.example',
    ATTESTRY_SUMMARIES_FULCIO: 'https://g.example',
    ATTESTRY_SUMMARIES_IDENTITY_TOKEN: 'a.txt',
    ATTESTRY_SUMMARIES_REKOR: 'https://s.example',
  }
  for (const key of settingKeys) {
    const { path, type } = key
    const name = path.join('.')
    if (name === 'policySource') continue // see test/rollout/rollout.test.ts
    if (/^summaries\.(key|passphrase)$/.test(name)) continue // see test/gate/summaries.test.ts
    const variable = variableName(path).replaceAll('<NAME>', 'NPM')
    const kinds: Record<string, string> = {
      file: 'a.txt',
      duration: '7s',
      size: '7MiB',
      'whole number': '7',
    }
    const value =
      values[name] ?? kinds[type] ?? (type === 'URL' ? 'https://z.example/' : 'word')
    const pair = /username|password/.test(name)
      ? { ATTESTRY_UPSTREAMS_NPM_USERNAME: 'u', ATTESTRY_UPSTREAMS_NPM_PASSWORD: 'p' }
      : name.startsWith('server.tls')
        ? { ATTESTRY_SERVER_TLS_CERT: 'a.txt', ATTESTRY_SERVER_TLS_KEY: 'a.txt' }
        : name.startsWith('summaries.')
          ? summary
          : name.endsWith('signing.passphrase')
            ? { ATTESTRY_UPSTREAMS_NPM_SIGNING_KEYS: 'keys' }
            : /storage\.(s3|postgres)/.test(name)
              ? shared
              : {}
    const before = pair === shared && type !== 'secret' ? await load(shared) : alone
    t.notSame(await load({ ...pair, [variable]: value }), before, `${variable}=${value}`)
  }
  const some = await load({
    ATTESTRY_POLICIES: 'a.txt, b.txt',
    ATTESTRY_TRUST_ROOTS: 'file:a.txt',
    ATTESTRY_UPSTREAMS_NPM_TOKEN: '${taken as it is}',
  })
  t.strictSame(some.policies, [join(cwd, 'a.txt'), join(cwd, 'b.txt')])
  t.strictSame(some.trust.roots, [{ kind: 'file', file: join(cwd, 'a.txt') }])
  t.equal(some.upstreams[0]?.token?.reveal(), '${taken as it is}')
})

t.test('a variable that names no setting is an error with the nearest names', async t => {
  const { complaints, load } = at(t, 'upstreams: { npm: {}, our-own: { url: "http://x/" } }')
  t.match(await complaints({ ATTESTRY_LISTN: '1' }), [
    { source: 'ATTESTRY_LISTN', message: /ATTESTRY_LISTEN/ },
  ])
  t.match(await complaints({ ATTESTRY_UPSTREAMS_NMP_TOKEN: '1' }), [
    { source: 'ATTESTRY_UPSTREAMS_NMP_TOKEN', message: /ATTESTRY_UPSTREAMS_NPM_TOKEN/ },
  ])
  const settings = await load({ ATTESTRY_UPSTREAMS_OUR_OWN_RETRIES: '5', ATTESTRYLIKE: 'x' })
  t.equal(settings.upstreams[1]?.retries, 5)
})

t.test('a wrong value names its variable or flag', async t => {
  const { complaints } = at(t, 'listen: 1')
  t.match(await complaints({ ATTESTRY_LISTEN: 'here' }), [{ source: 'ATTESTRY_LISTEN' }])
  t.match(await complaints({}, { listen: 'here' }), [{ source: '--listen' }])
  t.match(await complaints({}, { policy: ['missing.yaml'] }), [{ source: '--policy' }])
  t.match(await complaints({ ATTESTRY_POLICIES: 'missing.yaml' }), [
    { source: 'ATTESTRY_POLICIES' },
  ])
})

t.test('every mistake in the file has its place', async t => {
  const { complaints } = at(
    t,
    `listen: 99999
publicUrl: ftp://x/
upstreams:
  npm:
    url: https://user:hunter2@x/
    conections: 3
    retries: 11
    timeout: 30
    ca: ./missing.pem
    tarballOrigins: [here]
  Other: { url: "http://x/" }

trust: { roots: [{ fil: x }, unknown] }
policies: [./missing.yaml]
storage: { maxSize: 5, path: "" }
cache: { recheck: 5x, packumentTtl: 900d }
verification: { workers: 0 }
log: { level: loud }
polices: []
`,
  )
  const said = await complaints()
  const lines = [1, 2, 5, 6, 7, 8, 9, 10, 11, 13, 13, 13, 14, 15, 15, 16, 16, 17, 18, 19]
  t.strictSame(
    said.map(c => c.line ?? 0).sort((a, b) => a - b),
    lines,
  )
  t.notMatch(JSON.stringify(said), /hunter2/)
})

t.test('settings that do not go together', async t => {
  const of = (yaml: string) => at(t, yaml).complaints()
  const one = 'upstreams:\n  npm:\n    '
  t.match(await of(`${one}{ token: a, username: b, password: c }`), [{ line: 2, column: 3 }])
  t.match(await of(`${one}{ username: b }`), [{ line: 2, column: 3 }])
  t.match(await of('upstreams: { acme: {} }'), [{ line: 1, message: /url/ }])
  t.match(await of('upstreams: {}'), [{ line: 1 }])
  for (const [pattern, said] of [
    ['"*"', /first upstream/],
    ['"@acme/a@1.0.0"', /write "@acme\/a"/],
    ['"acme*"', /more than it reads like/],
    ['"@*/a"', /scope cannot be a pattern/],
  ] as const)
    t.match(await of(`${one}packages: [a, ${pattern}]`), [{ line: 3, message: said }], pattern)
  const two = (more: string) =>
    `upstreams:\n  npm: {}\n  acme:\n    url: https://a.example\n    ${more}`
  t.match(
    await of(`${two('packages: [a]')}\n  b: { url: "https://b.example", packages: [a] }`),
    [{ line: 6, message: /acme has it already/ }],
  )
  for (const name of ['acme', 'nobody', 'toString'])
    t.match(await of(two(`evidenceFrom: ${name}`)), [
      { line: 5, message: /another upstream: npm/ },
    ])
  t.match(
    await of(
      `${two('evidenceFrom: npm')}\n  b: { url: "https://b.example", evidenceFrom: acme }`,
    ),
    [{ line: 6, message: /from elsewhere/ }],
  )
  t.match(await of('trust: { roots: [] }'), [{ line: 1 }])
  t.match(await of('- listen'), [{ line: 1, column: 1 }])
  t.match(await of('storage: here'), [{ line: 1, column: 1 }])
  t.match(
    await at(t).complaints({ ATTESTRY_UPSTREAMS_NPM_USERNAME: 'b' }),
    [{ source: 'ATTESTRY_UPSTREAMS_NPM_USERNAME' }],
    'without a file',
  )
})

t.test('URLs are normalised', async t => {
  const { load } = at(
    t,
    'publicUrl: https://X.example/a\nupstreams: { npm: { url: "http://y.example:80/n/r", tarballOrigins: ["https://f.example/path"] } }',
  )
  t.match(await load(), {
    publicUrl: 'https://x.example/a/',
    publicUrlGiven: true,
    upstreams: [{ url: 'http://y.example/n/r/', tarballOrigins: ['https://f.example'] }],
  })
  t.equal(publicUrlOf({ host: '0.0.0.0', port: 1 }), 'http://127.0.0.1:1/')
  t.equal(publicUrlOf({ host: '::', port: 1 }), 'http://[::1]:1/')
  t.equal(publicUrlOf({ host: 'npm.internal', port: 80 }), 'http://npm.internal:80/')
})

t.test('where registry keys come from', async t => {
  const kind = async (value: string) =>
    (await at(t, `upstreams: { npm: { registryKeys: ${value} } }`).load()).upstreams[0]
      ?.registryKeys.kind
  for (const word of ['auto', 'tuf', 'bundled', 'none']) t.equal(await kind(word), word)
  t.equal((await at(t).load()).upstreams[0]?.registryKeys.kind, 'auto')
})

t.test('trust roots of every kind, and whom they may speak for', async t => {
  const files = { 'a.pem': 'a', 'root.json': '{}', 'tuf.tgz': 'x' }
  const roots = async (text: string) => {
    const { cwd, load } = at(t, { ...files, 'attestry.yaml': `trust: { roots: [${text}] }` })
    return [(await load()).trust.roots[0], (name: string) => join(cwd, name)] as const
  }
  const issuers = ['https://gitlab.acme.example']
  const cases: readonly (readonly [string, (at: (name: string) => string) => object])[] = [
    ['public-good', () => ({ kind: 'public-good' })],
    [
      '{ publicGood: true, subjects: ["https://github.com/acme/**@refs/tags/*"] }',
      () => ({ kind: 'public-good', subjects: ['https://github.com/acme/**@refs/tags/*'] }),
    ],
    [
      '{ tuf: { mirror: https://tuf.acme.example/x, root: root.json }, issuers: [https://gitlab.acme.example] }',
      at => ({
        kind: 'tuf',
        mirror: 'https://tuf.acme.example/x/',
        root: at('root.json'),
        issuers,
      }),
    ],
    ['{ archive: tuf.tgz }', at => ({ kind: 'archive', archive: at('tuf.tgz') })],
    [
      '{ archive: { file: tuf.tgz, root: root.json, target: a/b.json } }',
      at => ({
        kind: 'archive',
        archive: at('tuf.tgz'),
        root: at('root.json'),
        target: 'a/b.json',
      }),
    ],
    [
      '{ keys: { tlogs: [{ key: a.pem, from: 2026-01-01T00:00:00Z }] } }',
      at => ({
        kind: 'keys',
        keys: { tlogs: [{ key: at('a.pem'), from: '2026-01-01T00:00:00.000Z' }] },
      }),
    ],
  ]
  for (const [text, wanted] of cases) {
    const [root, resolved] = await roots(text)
    t.strictSame(root, wanted(resolved), text)
  }
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['public-bad', /wanted public-good/],
    ['{}', /with one of file, tuf, archive/],
    ['{ file: root.json, archive: tuf.tgz }', /with one of file, tuf, archive/],
    ['{ file: missing.json }', /missing\.json/],
    ['{ tuf: { root: root.json } }', /mirror/],
    ['{ tuf: { mirror: "ftp://x" } }', /mirror/],
    ['{ file: root.json, issuers: [] }', /issuers/],
    ['{ file: root.json, issuers: [gitlab] }', /issuers.*OIDC issuer/],
    ['{ file: root.json, issuers: ["https://*.example"] }', /issuers/],
    ['{ file: root.json, subjects: ["**"] }', /subjects.*matches anybody/],
    ['{ keys: { tlogs: [] } }', /tlogs/],
    ['{ keys: { tlogs: [{ key: a.pem }] } }', /from/],
    ['{ keys: { tlogs: [{ key: a.pem, from: soon }] } }', /from.*ISO 8601/],
    [
      '{ keys: { certificateAuthorities: [{ certificates: a.pem }], tlogs: [{ key: a.pem, from: 2026-01-01 }] } }',
      /ctlogs too/,
    ],
  ]
  for (const [text, message] of wrong)
    await t.rejects(roots(text), { code: 'ECONFIG', message }, text)
})

t.test('paths in the file are relative to the file', async t => {
  const { cwd, load } = at(t, {
    'p.yaml': '',
    'attestry.yaml': 'policies: [./p.yaml]\nstorage: { path: s }',
  })
  const settings = await loadSettings({ file: join(cwd, 'attestry.yaml'), env: {}, cwd: root })
  t.strictSame(settings.policies, [join(cwd, 'p.yaml')])
  t.equal(settings.storage.path, join(cwd, 's'))
  t.equal((await load({ ATTESTRY_STORAGE_PATH: '/s' })).storage.path, '/s')
})

t.test('secrets are filled in from the environment, and never empty', async t => {
  const { complaints, load } = at(t, 'upstreams:\n  npm:\n    token: "a-${TOKEN}-b"')
  t.equal((await load({ TOKEN: 'hunter2' })).upstreams[0]?.token?.reveal(), 'a-hunter2-b')
  t.match(await complaints(), [{ line: 3, column: 5, message: /TOKEN is not set/ }])
  t.match(await complaints({ TOKEN: '' }), [{ line: 3, column: 5, message: /empty/ }])
  const elsewhere = at(t, 'storage: { path: "${HOME}/x" }')
  t.match(await elsewhere.complaints({ HOME: '/h' }), [
    { line: 1, message: /ATTESTRY_STORAGE_PATH/ },
  ])
  for (const wrong of [
    '"${TOKEN}"',
    '"${"',
    '"${TOKEN"',
    '"${}"',
    '"${a b}"',
    '"${toString}"',
    '"two\\nlines"',
  ])
    t.equal((await at(t, `upstreams: { npm: { token: ${wrong} } }`).complaints()).length, 1)
})

t.test('a secret does not print, and settings do not change', async t => {
  const { complaints, load } = at(t, 'upstreams: { npm: { token: hunter2 } }')
  const settings = await load()
  const token = settings.upstreams[0]?.token
  const shown = [
    inspect(settings, { depth: 9 }),
    inspect(settings, { depth: 9, customInspect: false, showHidden: true }),
    JSON.stringify(settings),
    JSON.stringify(Object.entries(token ?? {})),
  ]
  for (const text of shown) t.notMatch(text, 'hunter2')
  t.equal(String(token), hidden)
  t.equal(inspect(token), hidden)
  const change = settings as { listen: { port: number } }
  t.throws(() => (change.listen.port = 1), TypeError)
  t.throws(() => Object.assign(settings.upstreams[0] ?? {}, { url: 'x' }), TypeError)

  const wrong = at(t, 'upstreams: { npm: { token: [hunter2], password: 12345678 } }')
  t.notMatch(JSON.stringify(await wrong.complaints()), /hunter2|12345678/)
  const two = { ATTESTRY_UPSTREAMS_NPM_TOKEN: 'hunter2\n' }
  t.notMatch(JSON.stringify(await complaints(two)), /hunter2/)
})
