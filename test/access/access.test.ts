import { createHmac } from 'node:crypto'
import t from 'tap'
import { credentialOf, openAccess, type AccessOptions } from '../../lib/access/access.ts'
import { fetchDocumentWith } from '../../lib/access/fetch-document.ts'
import { openTokens } from '../../lib/access/tokens.ts'
import { openLocalStore } from '../../lib/store/local.ts'
import { newKey, startIssuer, tokenOf, type SigningKey } from './issuer.ts'

const rsa = newKey('one', 'RS256')
const ec = newKey('two', 'ES256')
const issuer = await startIssuer(rsa, ec)
t.teardown(() => issuer.close())

const store = await openLocalStore({ path: t.testdir() })
t.teardown(() => store.close())
const { records } = store

const audience = 'https://npm.example/'
const at = Date.parse('2026-06-01T00:00:00Z')
const seconds = at / 1000
const claims = {
  iss: issuer.url,
  aud: audience,
  sub: 'repo:acme/app:ref:refs/heads/main',
  repository: 'acme/app',
  ref: 'refs/heads/main',
  run_attempt: 1,
  exp: seconds + 300,
  nbf: seconds - 10,
  iat: seconds - 10,
}

let clock = at
const fetchDocument = fetchDocumentWith({ timeout: 1500, size: 64 * 1024, userAgent: 'test' })
const open = (options: Partial<AccessOptions> = {}) =>
  openAccess({
    records,
    mode: 'tokens',
    issuers: {
      ci: {
        issuer: issuer.url,
        audience,
        claims: { repository: ['acme/*'], ref: ['refs/heads/main', 'refs/tags/v*'] },
        view: 'mobile',
      },
    },
    fetchDocument,
    now: () => new Date(clock),
    ...options,
  })

const bearer = (token: string) => `Bearer ${token}`
const unauthorized = { code: 'EUNAUTHORIZED', status: 401 }

t.beforeEach(() => {
  clock = at
  issuer.fault = undefined
  issuer.keys = [rsa, ec]
})

t.test('the header', async t => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
  t.equal(credentialOf('Bearer abc'), 'abc')
  t.equal(credentialOf('bearer  abc'), 'abc')
  t.equal(credentialOf(basic('anybody:abc:d')), 'abc:d')
  for (const text of [undefined, '', 'abc', 'Digest abc', basic('abc')])
    t.equal(credentialOf(text), undefined, String(text))
})

t.test('our tokens', async t => {
  const tokens = openTokens(records, () => new Date(clock))
  const access = open()
  const { token } = await tokens.create({ name: 'ci', view: 'mobile', lifetime: 60_000 })
  t.match(token, /^attestry_[\w-]{43}$/, '256 bits')
  const { token: plain } = await tokens.create({ name: 'dev' })
  t.not(token, plain)

  t.same(await access.identify(bearer(token)), {
    caller: { kind: 'token', name: 'ci', view: 'mobile' },
    ours: true,
  })
  t.same((await access.identify(bearer(plain))).caller, { kind: 'token', name: 'dev' })

  let kept = ''
  for await (const entry of records.list('token')) kept += JSON.stringify(entry)
  t.notMatch(kept, new RegExp(token.slice(9)), 'the store does not know the token')
  await t.rejects(tokens.create({ name: 'ci' }), { code: 'EUSAGE' }, 'a name is used once')
  await t.rejects(tokens.create({ name: 'a b' }), { code: 'EUSAGE' })

  const changed = `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`
  for (const wrong of [changed, token.slice(0, -1), `${token}A`, 'attestry_', token.slice(9)])
    await t.rejects(access.identify(bearer(wrong)), unauthorized, 'another token')

  clock = at + 60_000
  await t.rejects(access.identify(bearer(token)), unauthorized, 'it has ended')
  t.match(await tokens.list(), [
    { name: 'ci', ended: true },
    { name: 'dev', ended: false },
  ])
  t.equal(await tokens.revoke('dev'), true)
  t.equal(await tokens.revoke('dev'), false)
  await t.rejects(access.identify(bearer(plain)), unauthorized, 'it was revoked')
})

t.test('what is no token of ours', async t => {
  const open_ = open({ mode: 'anonymous' })
  for (const header of [undefined, bearer('npm_abc'), 'Basic eDp5']) {
    t.same(await open_.identify(header), { caller: { kind: 'anonymous' }, ours: false })
    await t.rejects(open().identify(header), unauthorized)
  }
  await t.rejects(open_.identify(bearer('attestry_x')), unauthorized, 'meant for us, and wrong')
  const elsewhere = tokenOf(rsa, { ...claims, iss: 'https://other.example' })
  t.equal((await open_.identify(bearer(elsewhere))).ours, false)
  await t.rejects(open().identify(bearer(elsewhere)), unauthorized)
})

t.test('the operator', async t => {
  const access = open({ adminToken: 'swordfish' })
  t.doesNotThrow(() => access.checkAdmin(bearer('swordfish')))
  for (const header of [undefined, bearer('swordfisH'), bearer('')])
    t.throws(() => access.checkAdmin(header), unauthorized)
  t.doesNotThrow(() => open().checkAdmin(undefined), 'open without one')
})

t.test('OIDC tokens', async t => {
  const access = open()
  const identify = async (changes: object = {}, key: SigningKey = rsa, header: object = {}) =>
    (await access.identify(bearer(tokenOf(key, { ...claims, ...changes }, { ...header }))))
      .caller
  const name = `ci:${claims.sub}`

  t.same(await identify(), { kind: 'oidc', name, view: 'mobile' })
  t.match(await identify({}, ec), { kind: 'oidc' })
  t.match(await identify({ aud: ['x', audience] }), { kind: 'oidc' })
  t.match(await identify({ ref: 'refs/tags/v1' }), { kind: 'oidc' })
  t.match(await identify({ exp: seconds - 30 }), { kind: 'oidc' }, 'clocks differ a little')

  const refused: Record<string, object> = {
    'another audience': { aud: 'https://npm.example' },
    'no audience': { aud: undefined },
    expired: { exp: seconds - 61 },
    'no end': { exp: undefined },
    'an end that is no number': { exp: String(seconds + 300) },
    'not yet': { nbf: seconds + 61 },
    'made in the future': { iat: seconds + 61 },
    'another repository': { repository: 'acme-evil/app' },
    'a repository deeper down': { repository: 'acme/app/x' },
    'the repository as a part': { repository: 'x/acme/app' },
    'no repository': { repository: undefined },
    'a list': { repository: ['acme/app'] },
    'another ref': { ref: 'refs/heads/main2' },
  }
  for (const [what, changes] of Object.entries(refused))
    await t.rejects(identify(changes), unauthorized, what)

  t.test('signatures', async t => {
    const stranger = newKey('one', 'RS256')
    await t.rejects(identify({}, stranger), unauthorized, 'a key of the same name')
    await t.rejects(identify({}, rsa, { alg: 'none' }), unauthorized)
    await t.rejects(identify({}, rsa, { alg: 'ES256' }), unauthorized)
    await t.rejects(identify({}, rsa, { kid: 'two' }), unauthorized)
    await t.rejects(identify({}, rsa, { crit: ['x'] }), unauthorized)
    const [head, body, signature = ''] = tokenOf(rsa, claims).split('.')
    await t.rejects(access.identify(bearer(`${head}.${body}.`)), unauthorized)
    const other = Buffer.from(JSON.stringify({ ...claims, ref: 'x' })).toString('base64url')
    await t.rejects(access.identify(bearer(`${head}.${other}.${signature}`)), unauthorized)
    // the public key taken for the secret of an HMAC
    const hs = Buffer.from(JSON.stringify({ alg: 'HS256', kid: 'one' })).toString('base64url')
    const mac = createHmac('sha256', JSON.stringify(rsa.jwk)).update(`${hs}.${body}`)
    await t.rejects(
      access.identify(bearer(`${hs}.${body}.${mac.digest('base64url')}`)),
      unauthorized,
    )
    const weak = newKey('weak', 'RS256', 1024)
    issuer.keys = [weak]
    await t.rejects(open().identify(bearer(tokenOf(weak, claims))), unauthorized, '1024 bits')
  })
})

t.test("the issuer's keys", async t => {
  const token = bearer(tokenOf(rsa, claims))
  const unavailable = { code: 'EISSUER', status: 503 }

  t.test('asked once, and again for a key that is new', async t => {
    const access = open()
    issuer.asked.length = 0
    await Promise.all([access.identify(token), access.identify(token), access.identify(token)])
    t.equal(issuer.asked.length, 2, 'discovery and keys')
    const next = newKey('three', 'RS256')
    issuer.keys = [next]
    const fresh = bearer(tokenOf(next, claims))
    await t.rejects(access.identify(fresh), unauthorized, 'not asked again at once')
    t.equal(issuer.asked.length, 2)
    clock += 31_000
    t.match((await access.identify(fresh)).caller, { kind: 'oidc' })
    t.equal(issuer.asked.length, 4)
    await t.rejects(access.identify(token), unauthorized, 'the old key is gone')
  })

  t.test('an issuer that does not answer', async t => {
    const failures: NonNullable<typeof issuer.fault>[] = [
      () => ({ status: 500, body: '' }),
      () => 'silent',
      () => ({ status: 200, body: 'x' }),
      () => ({ status: 200, body: 'x'.repeat(100_000) }),
      path =>
        path === '/keys'
          ? undefined
          : {
              status: 200,
              body: JSON.stringify({
                issuer: 'https://other.example',
                jwks_uri: `${issuer.url}/keys`,
              }),
            },
      path => (path === '/keys' ? { status: 200, body: '{}' } : undefined),
      path =>
        path === '/keys'
          ? undefined
          : {
              status: 200,
              body: JSON.stringify({ issuer: issuer.url, jwks_uri: 'http://a.example/' }),
            },
      () => ({ status: 302, body: '' }),
    ]
    for (const fault of failures) {
      issuer.fault = fault
      await t.rejects(open().identify(token), unavailable)
    }
    issuer.fault = undefined
    const access = open()
    await access.identify(token)
    issuer.fault = () => ({ status: 500, body: '' })
    clock += 2 * 3_600_000
    const later = bearer(tokenOf(rsa, { ...claims, exp: clock / 1000 + 60 }))
    t.match((await access.identify(later)).caller, { kind: 'oidc' }, 'the last keys hold')
    clock += 23 * 3_600_000
    const tooLate = bearer(tokenOf(rsa, { ...claims, exp: clock / 1000 + 60 }))
    await t.rejects(access.identify(tooLate), unavailable, 'but not for ever')
  })
})
