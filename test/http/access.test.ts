/** Who may use the server, and what each of them gets: through a running proxy. */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openTokens } from '../../lib/access/tokens.ts'
import type { StoredAuditEntry } from '../../lib/store/store.ts'
import { newKey, startIssuer, tokenOf } from '../access/issuer.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
const key = newKey('k', 'ES256')
const issuer = await startIssuer(key)
t.teardown(async () => {
  await registry.close()
  await issuer.close()
  await sigstore.close()
})
await registry.publish({ name: 'app', version: '1.0.0' })
await registry.publish({ name: 'app', version: '1.1.0' })
await registry.publish({ name: 'tool', version: '1.0.0' })

const noNewApp = `version: 1
rules:
  - { name: old app only, packages: ['app@1.1.0'], deny: { reason: the team waits } }
`
const reserving = `version: 1
rules: [{ name: ours, packages: ['@team/*'], upstream: private }]
`
const noTool = `version: 1
rules:
  - { name: no tool, packages: [tool], deny: { reason: not here } }
`

type Json = Record<string, any> // eslint-disable-line typescript/no-explicit-any

const openProxy = async (t: Test, lines: string, options: Partial<ProxyOptions> = {}) => {
  const folder = t.testdir({
    'mobile.yaml': noNewApp,
    'web.yaml': noTool,
    'team.yaml': reserving,
  })
  const proxy = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    settings: [
      lines,
      'views:',
      `  mobile: { policies: [${JSON.stringify(join(folder, 'mobile.yaml'))}] }`,
      `  web: { policies: [${JSON.stringify(join(folder, 'web.yaml'))}] }`,
      'oidc:',
      `  ci: { issuer: "${issuer.url}", audience: me, claims: { repository: acme/* }, view: mobile }`,
    ].join('\n'),
    ...options,
  })
  t.teardown(() => proxy.close())
  const tokens = openTokens(proxy.store.records, () => new Date())
  const get = (path: string, token?: string, headers: Record<string, string> = {}) =>
    fetch(new URL(path, proxy.url), {
      headers: { ...(token !== undefined && { authorization: `Bearer ${token}` }), ...headers },
    })
  const versions = async (path: string, token?: string) => {
    const { versions, 'dist-tags': tags } = (await (await get(path, token)).json()) as Json
    return {
      versions: Object.keys(versions as Json),
      latest: (tags as Json)['latest'] as string,
    }
  }
  const audit = async () => {
    const entries: StoredAuditEntry[] = []
    await proxy.gate.idle()
    for await (const entry of proxy.store.audit.read()) entries.push(entry)
    return entries
  }
  return { proxy, tokens, get, versions, audit }
}

const oidcToken = (claims: object = {}) =>
  tokenOf(key, {
    iss: issuer.url,
    aud: 'me',
    sub: 'repo:acme/app',
    repository: 'acme/app',
    exp: Date.now() / 1000 + 60,
    ...claims,
  })

t.test('access: tokens', async t => {
  const { tokens, get, audit, proxy } = await openProxy(
    t,
    'access: tokens\nserver: { adminToken: swordfish }',
  )
  const { token } = await tokens.create({ name: 'ci' })
  const paths = [
    '/app',
    '/app/1.0.0',
    '/app/-/app-1.0.0.tgz',
    '/v/mobile/app',
    '/-/package/app/dist-tags',
    '/-/npm/v1/keys',
    '/-/attestry/why/app@1.0.0',
    '/-/ping',
    '/',
    '/no-such-package',
  ]
  for (const path of paths) {
    for (const wrong of [undefined, 'attestry_wrong', 'npm_abc']) {
      const answer = await get(path, wrong)
      t.equal(answer.status, 401, `${path} with ${wrong}`)
      t.match(answer.headers.get('www-authenticate'), /^Bearer realm=/)
      t.equal(answer.headers.get('cache-control'), 'no-store')
      const body = (await answer.json()) as Json
      t.match(body, { code: 'EUNAUTHORIZED', error: /token/ })
      t.equal(body['error'], body['message'])
    }
  }
  t.equal((await audit()).length, 0, 'nothing was judged for nobody')
  for (const path of ['/-/attestry/health/live', '/-/attestry/health/ready'])
    t.equal((await get(path)).status, 200, path)
  const led = await get('/-/attestry/refused/no-such-package@1.0.0/DENIED')
  t.equal(led.status, 403, 'a client may leave its token behind where it is led')
  t.equal((await audit()).length, 0, 'and is told nothing that it did not say itself')
  t.equal((await get('/-/attestry/metrics', token)).status, 401, 'not for clients')
  t.not((await get('/-/attestry/metrics', 'swordfish')).status, 401)
  t.equal((await get('/app', 'swordfish')).status, 401, 'not for packages')

  const packument = await get('/app', token)
  t.equal(packument.status, 200)
  t.notMatch(packument.headers.get('cache-control'), /public/, 'no shared cache may keep it')
  t.match(packument.headers.get('vary'), /authorization/i)
  const tarball = await get('/app/-/app-1.0.0.tgz', token)
  t.equal(tarball.status, 200)
  t.match(tarball.headers.get('cache-control'), /private/)
  const basic = `Basic ${Buffer.from(`x:${token}`).toString('base64')}`
  t.equal((await get('/app', undefined, { authorization: basic })).status, 200)

  t.match(await audit(), [
    { client: { name: 'ci', address: '127.0.0.1' }, package: { name: 'app' } },
  ])
  const everything = JSON.stringify([await audit(), registry.requests])
  t.notMatch(everything, token, 'the token is in no record and at no upstream')
  t.ok(registry.requests.length > 0)

  await tokens.revoke('ci')
  t.equal((await get('/app', token)).status, 401, 'at once')
  t.equal((await get('/app', oidcToken())).status, 200)
  t.equal((await get('/app', oidcToken({ aud: 'you' }))).status, 401)
  issuer.fault = () => ({ status: 500, body: '' })
  t.equal((await get('/app', oidcToken())).status, 200, 'its keys are known')
  issuer.fault = undefined
  t.ok(proxy.port)
})

t.test('views', async t => {
  const { tokens, get, versions, audit, proxy } = await openProxy(t, 'access: anonymous')
  const { token: mobile } = await tokens.create({ name: 'phone', view: 'mobile' })
  const { token: plain } = await tokens.create({ name: 'desk' })
  const { token: gone } = await tokens.create({ name: 'gone', view: 'gone' })
  const all = { versions: ['1.0.0', '1.1.0'], latest: '1.1.0' }
  const old = { versions: ['1.0.0'], latest: '1.0.0' }

  // twice: what one view was told is not told to another
  for (let round = 0; round < 2; round++) {
    t.same(await versions('/app'), all)
    t.same(await versions('/v/mobile/app'), old)
    t.same(await versions('/app', mobile), old)
    t.same(await versions('/v/mobile/app', mobile), old)
    t.same(await versions('/app', oidcToken()), old)
    t.same(await versions('/v/web/app', plain), all)
    t.same(await versions('/app', plain), all)
    t.equal((await get('/app/-/app-1.1.0.tgz')).status, 200)
    t.equal((await get('/v/mobile/app/-/app-1.1.0.tgz')).status, 403)
    t.equal((await get('/app/-/app-1.1.0.tgz', mobile)).status, 403)
    t.equal((await get('/app/-/app-1.1.0.tgz', oidcToken())).status, 403)
    t.equal((await get('/v/web/tool')).status, 403)
    t.equal((await get('/v/mobile/tool')).status, 200)
    t.equal((await get('/app/latest', mobile)).status, 200)
  }

  t.test('a token stays in its view', async t => {
    t.equal((await get('/v/web/app', mobile)).status, 401)
    t.equal((await get('/app', gone)).status, 401, 'not the looser one where its own is gone')
    t.equal((await get('/app', 'attestry_wrong')).status, 401, 'wrong is not anonymous')
    t.equal((await get('/app', 'npm_of_an_upstream')).status, 200, 'not ours to judge')
  })

  t.test('addresses and validators', async t => {
    const document = (await (await get('/v/mobile/app')).json()) as Json
    t.equal(
      (document['versions'] as Json)['1.0.0'].dist.tarball,
      `${proxy.url}v/mobile/app/-/app-1.0.0.tgz`,
    )
    const byToken = (await (await get('/app', mobile)).json()) as Json
    t.equal(
      (byToken['versions'] as Json)['1.0.0'].dist.tarball,
      `${proxy.url}app/-/app-1.0.0.tgz`,
    )
    const tags = new Set<string | null>()
    for (const answer of [
      await get('/app'),
      await get('/v/mobile/app'),
      await get('/app', mobile),
    ])
      tags.add(answer.headers.get('etag'))
    t.equal(tags.size, 3)
    const refused = await get('/v/mobile/app/-/app-1.1.0.tgz')
    t.match(await refused.json(), { docs: `${proxy.url}v/mobile/-/attestry/why/app@1.1.0` })
    const why = (await (await get('/v/mobile/-/attestry/why/app@1.1.0')).json()) as Json
    t.match(why, { decision: 'refuse' })
    t.match(await (await get('/-/attestry/why/app@1.1.0')).json(), { decision: 'allow' })
  })

  t.test('the audit record', async t => {
    const entries = await audit()
    t.ok(entries.some(({ client }) => client.name === 'phone' && client.view === 'mobile'))
    t.ok(entries.some(({ client }) => client.name === 'ci:repo:acme/app'))
    t.ok(entries.some(({ client }) => client.name === undefined && client.view === 'mobile'))
    t.ok(entries.some(({ client }) => client.name === undefined && client.view === undefined))
    const digests = new Map(
      entries.map(({ client, policyDigest }) => [client.view, policyDigest]),
    )
    t.not(digests.get('mobile'), digests.get(undefined))
  })

  t.test('the baseline holds below a view, and a view can be changed', async t => {
    const at = proxy.gate.view('web', proxy.url)
    t.equal((await at.why({ name: 'tool', version: '1.0.0' })).layers.length, 2)
    at.adopt([])
    t.equal((await get('/v/web/tool')).status, 200)
    t.throws(() => proxy.gate.view('none', proxy.url), { code: 'ECONFIG' })
  })
})

t.test('a name that a view reserves is asked of no other upstream, whoever asks', async t => {
  const file = join(t.testdirName, 'team.yaml')
  const secret = await startRegistry({ sigstore })
  t.teardown(() => secret.close())
  await secret.publish({ name: '@team/lib', version: '1.0.0' })
  await registry.publish({ name: '@team/lib', version: '9.0.0' })
  const settings = `views: { team: { policies: [${JSON.stringify(file)}] } }`
  const { get, versions } = await openProxy(t, '', {
    settings,
    upstreams: [`private: { url: "${secret.url}", registryKeys: %keys% }`],
  })
  t.same((await versions('/@team%2flib')).versions, ['1.0.0'])
  t.same((await versions('/v/team/@team%2flib')).versions, ['1.0.0'])
  t.equal((await get('/app')).status, 200)
  t.same(registry.asked(/team/), [], 'the public one never heard of it')

  const nobody = startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: 'none',
    settings,
  })
  await t.rejects(nobody, { code: 'EPOLICY' }, 'an upstream that is not configured')
})

t.test('our tokens stay here, also where clients may log in at an upstream', async t => {
  for (const access of ['anonymous', 'tokens']) {
    const { tokens, get, proxy } = await openProxy(t, `access: ${access}`, {
      upstreamSettings: ['passThrough: write', 'clientCredentials: forward'],
    })
    const { token } = await tokens.create({ name: 'ci' })
    const credentials = [
      `Bearer ${token}`,
      `Basic ${Buffer.from(`x:${token}`).toString('base64')}`,
      `Bearer ${oidcToken()}`,
    ]
    registry.requests.length = 0
    for (const authorization of credentials) {
      await get('/-/whoami', undefined, { authorization })
      await get('/-/v1/search?text=app', undefined, { authorization })
      await fetch(`${proxy.url}app`, { method: 'PUT', body: '{}', headers: { authorization } })
    }
    t.ok(registry.requests.length > 0, 'something was passed on')
    const seen = JSON.stringify(registry.requests.map(({ headers }) => headers))
    for (const authorization of credentials)
      t.notMatch(seen, authorization.split(' ')[1], `${access}: it went on`)
    registry.requests.length = 0
    await get('/-/whoami', 'npm_of_the_upstream')
    const theirs = JSON.stringify(registry.requests.map(({ headers }) => headers))
    if (access === 'anonymous')
      t.match(theirs, 'npm_of_the_upstream', "the upstream's own does")
    else t.equal(registry.requests.length, 0, 'nobody gets past us with it')
  }
})
