import { readFileSync } from 'node:fs'
import t from 'tap'
import { isAttestryError } from '../../lib/errors.ts'
import { routeOf } from '../../lib/http/route.ts'

const pkg = (name: string) => ({ kind: 'package', name })
const account = { kind: 'account' }
const scope = (scope: string) => ({ kind: 'scope', scope })

/** Method, address, kind, access, owner, path at the upstream (default: the address), what it changes. */
type Case = readonly [
  string,
  string,
  string,
  'read' | 'write',
  object,
  (string | undefined)?,
  string?,
]

const cases: readonly Case[] = [
  ['GET', '/n?write=true', 'document', 'write', pkg('n')],
  ['GET', '/@s%2Fn?write=true', 'document', 'write', pkg('@s/n'), '@s%2fn?write=true'],
  ['PUT', '/n', 'publish', 'write', pkg('n'), 'n', 'n'],
  ['PUT', '/@s/n', 'publish', 'write', pkg('@s/n'), '@s%2fn', '@s/n'],
  ['PUT', '/@s%2fn/-rev/1-ab', 'change', 'write', pkg('@s/n'), '@s%2fn/-rev/1-ab', '@s/n'],
  ['DELETE', '/n/-rev/1-ab', 'unpublish', 'write', pkg('n'), 'n/-rev/1-ab', 'n'],
  ['DELETE', '/n/-/n-1.0.0.tgz/-rev/1', 'unpublish', 'write', pkg('n'), undefined, 'n'],
  [
    'DELETE',
    '/@s/n/-/n-1.0.0.tgz/-rev/1',
    'unpublish',
    'write',
    pkg('@s/n'),
    '@s%2fn/-/n-1.0.0.tgz/-rev/1',
    '@s/n',
  ],
  [
    'DELETE',
    '/@s/n/-/@s/n-1.0.0.tgz/-rev/1',
    'unpublish',
    'write',
    pkg('@s/n'),
    '@s%2fn/-/@s/n-1.0.0.tgz/-rev/1',
    '@s/n',
  ],
  ['GET', '/-/whoami', 'account', 'read', account],
  ['POST', '/-/v1/login', 'login', 'write', account],
  ['GET', '/-/v1/done?authId=x', 'login', 'write', account],
  ['GET', '/-/v1/login/cli/x', 'login', 'write', account],
  [
    'GET',
    '/-/v1/done?authId=x&attestry-upstream=acme',
    'login',
    'write',
    { kind: 'upstream', name: 'acme' },
    '-/v1/done?authId=x',
  ],
  ['PUT', '/-/user/org.couchdb.user:ana', 'login', 'write', account],
  ['GET', '/-/user/org.couchdb.user:ana?write=true', 'login', 'write', account],
  [
    'PUT',
    '/-/user/org.couchdb.user%3Aana/-rev/1',
    'login',
    'write',
    account,
    '-/user/org.couchdb.user:ana/-rev/1',
  ],
  ['DELETE', '/-/user/token/abc%3D', 'logout', 'write', account],
  ['GET', '/-/user/ana/package', 'account', 'read', account],
  ['GET', '/-/npm/v1/user', 'account', 'read', account],
  ['POST', '/-/npm/v1/user', 'account', 'write', account],
  ['GET', '/-/npm/v1/tokens?page=1', 'account', 'read', account],
  ['POST', '/-/npm/v1/tokens', 'account', 'write', account],
  ['DELETE', '/-/npm/v1/tokens/token/abc', 'account', 'write', account],
  [
    'PUT',
    '/-/package/@s%2fn/dist-tags/beta',
    'change',
    'write',
    pkg('@s/n'),
    undefined,
    '@s/n',
  ],
  ['DELETE', '/-/package/n/dist-tags/beta', 'change', 'write', pkg('n'), undefined, 'n'],
  ['GET', '/-/package/n/visibility', 'access', 'read', pkg('n')],
  ['GET', '/-/package/@s%2fn/collaborators?format=cli', 'access', 'read', pkg('@s/n')],
  ['POST', '/-/package/@s%2fn/access', 'access', 'write', pkg('@s/n'), undefined, '@s/n'],
  ['PUT', '/-/package/@s%2fn/owners', 'access', 'write', pkg('@s/n'), undefined, '@s/n'],
  ['DELETE', '/-/package/n/owners/ana', 'access', 'write', pkg('n'), undefined, 'n'],
  ['GET', '/-/package/n/trust', 'trust', 'read', pkg('n')],
  ['POST', '/-/package/n/trust', 'trust', 'write', pkg('n'), undefined, 'n'],
  ['DELETE', '/-/package/n/trust/12', 'trust', 'write', pkg('n'), undefined, 'n'],
  ['GET', '/-/org/acme/user', 'access', 'read', scope('@acme')],
  ['PUT', '/-/org/acme/team', 'access', 'write', scope('@acme')],
  ['GET', '/-/team/acme/devs/package?format=cli', 'access', 'read', scope('@acme')],
  ['DELETE', '/-/team/acme/devs', 'access', 'write', scope('@acme')],
  ['POST', '/-/stage/package/@s%2fn', 'stage', 'write', pkg('@s/n'), undefined, '@s/n'],
  ['GET', '/-/stage?page=0&package=@s%2fn', 'stage', 'write', pkg('@s/n')],
  ['GET', '/-/stage?page=0', 'stage', 'write', account],
  ['GET', '/-/stage/1b2c', 'stage', 'write', account],
  ['POST', '/-/stage/1b2c/approve', 'stage', 'write', account],
  ['DELETE', '/-/stage/1b2c', 'stage', 'write', account],
  ['GET', '/-/stage/1b2c/tarball', 'stage', 'write', account],
]

t.test('addresses that an upstream answers', async t => {
  for (const [method, target, kind, access, owner, path, changes] of cases)
    t.strictSame(
      routeOf(target, method),
      {
        kind,
        method,
        access,
        owner,
        path: path ?? target.slice(1),
        ...(changes !== undefined && { changes }),
      },
      `${method} ${target}`,
    )
})

t.test('advisories are asked for with POST', async t => {
  const route = (target: string) => routeOf(target, 'POST')
  t.same(route('/-/npm/v1/security/advisories/bulk'), { kind: 'advisories' })
  t.same(route('/-/npm/v1/security/audits'), { kind: 'audits' })
  t.same(route('/-/npm/v1/security/audits/quick'), { kind: 'audits' })
})

t.test('nothing else is passed on', async t => {
  for (const [method, target] of [
    ['PUT', '/-/pnpm/v1/publish'],
    ['POST', '/-/npm/v1/oidc/token/exchange/package/@s%2fn'],
    ['GET', '/-/all'],
    ['GET', '/-/_view/starredByUser?key=x'],
    ['GET', '/-/by-user/x'],
    ['POST', '/n'],
    ['PATCH', '/n'],
    ['DELETE', '/n'],
    ['PUT', '/n/1.0.0'],
    ['PUT', '/n/-/n-1.0.0.tgz'],
    ['DELETE', '/n/-/n-1.0.0.tgz'],
    ['DELETE', '/n/-/readme.md/-rev/1'],
    ['DELETE', '/@s/n/-/@t/n-1.0.0.tgz/-rev/1'],
    ['GET', '/-/user/token/abc'],
    ['DELETE', '/-/package/n/dist-tags'],
    ['GET', '/-/org/acme'],
    ['PUT', '/-/whoami'],
    ['DELETE', '/-/stage'],
    ['POST', '/-/attestry/api'],
  ] as const) {
    const route = routeOf(target, method)
    t.notOk('method' in route, `${method} ${target} is ${route.kind}`)
  }
})

t.test('a path is what it says, and leads nowhere else', async t => {
  for (const [method, target] of [
    ['PUT', '/..'],
    ['PUT', '/a%2f..%2f..%2fb'],
    ['PUT', '/n/-rev/..'],
    ['PUT', '/n/-rev/%2e%2e'],
    ['GET', '/-/stage/..'],
    ['GET', '/-/stage?package=..%2f..%2fx'],
    ['GET', '/-/org/../user'],
    ['GET', '/-/team/acme/..'],
    ['DELETE', '/-/user/token/..'],
    ['GET', '/-/package/n%2f..%2fm/access'],
    ['PUT', '/-/package/n/dist-tags/..'],
  ] as const) {
    try {
      const route = routeOf(target, method)
      t.notOk('method' in route, `${method} ${target}`)
    } catch (error) {
      t.ok(isAttestryError(error) && error.code === 'EBADREQUEST', `${method} ${target}`)
    }
  }
  for (const [target, path] of [
    ['/n/-rev/a%3Fb', 'n/-rev/a%3Fb'],
    ['/n/-rev/a%23b', 'n/-rev/a%23b'],
    ['/n/-rev/a%0d%0ab', 'n/-rev/a%0D%0Ab'],
    ['/n/-rev/a%5C..', 'n/-rev/a%5C..'],
  ] as const) {
    const route = routeOf(target, 'PUT')
    t.equal('path' in route && route.path, path, 'what was encoded stays so')
  }
  for (const [method, target, path] of [
    ['PUT', '/n?_authToken=x&write=true', 'n?write=true'],
    ['GET', '/-/npm/v1/tokens?page=2&token=x', '-/npm/v1/tokens?page=2'],
    [
      'GET',
      '/-/package/n/collaborators?format=cli&user=a%26b&a',
      '-/package/n/collaborators?format=cli&user=a%26b',
    ],
    ['HEAD', '/-/whoami?token=x', '-/whoami'],
  ] as const) {
    const route = routeOf(target, method)
    t.equal('path' in route && route.path, path, 'of the query what clients send')
  }
})

t.test('docs/endpoints.md says what is done with each address', async t => {
  const page = readFileSync(new URL('../../docs/endpoints.md', import.meta.url), 'utf8')
  const rows = Array.from(
    page.matchAll(/^\| `([A-Z]+) (\/\S*)` +\| (\w+) +\|/gm),
    ([, method = '', path = '', kind = '']) => ({ method, path, kind }),
  )
  t.ok(rows.length > 50)
  const filled = (path: string) =>
    path
      .replace(':pkg', '@acme%2fa')
      .replace(':id', /attestations|vsa|refused/.test(path) ? '@acme%2fa@1.0.0' : 'a1')
      .replace(':version', '1.0.0')
      .replace(':file', 'a-1.0.0.tgz')
      .replaceAll(/:([a-z]+)/g, '$1')
  const classOf = (route: ReturnType<typeof routeOf>) => {
    if (!('method' in route)) {
      const here = ['advisories', 'audits', 'search', 'ping', 'vouch', 'revocation']
      return route.kind === 'unknown' ? 'no' : here.includes(route.kind) ? 'here' : 'served'
    }
    return route.owner.kind === 'account' ? 'account' : route.access
  }
  for (const { method, path, kind } of rows)
    t.equal(classOf(routeOf(filled(path), method)), kind, `${method} ${path}`)
  const told = new Set(rows.map(({ method, path }) => routeOf(filled(path), method).kind))
  for (const [method, target, kind] of cases)
    t.ok(told.has(kind as 'publish'), `${method} ${target}: ${kind} is told of`)
})
