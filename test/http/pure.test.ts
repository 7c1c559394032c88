import t from 'tap'
import { AttestryError } from '../../lib/errors.ts'
import { matchesEtag, rangeOf } from '../../lib/http/conditional.ts'
import { html } from '../../lib/http/html.ts'
import { errorAnswer, refusalAnswer } from '../../lib/http/refusal.ts'
import { routeOf } from '../../lib/http/route.ts'
import { formOf } from '../../lib/http/negotiate.ts'
import type { Verdict } from '../../lib/types.ts'

t.test('addresses', async t => {
  const id = (name: string, version: string) => ({ name, version })
  const cases: readonly [string, object][] = [
    ['/', { kind: 'index' }],
    ['/lodash', { kind: 'packument', name: 'lodash' }],
    ['/D', { kind: 'packument', name: 'D' }],
    ['/-', { kind: 'packument', name: '-' }],
    ['/@s%2fn', { kind: 'packument', name: '@s/n' }],
    ['/@s%2Fn', { kind: 'packument', name: '@s/n' }],
    ['/@s/n', { kind: 'packument', name: '@s/n' }],
    ['/%40s%2fn', { kind: 'packument', name: '@s/n' }],
    ['/@s%2fn/1.0.0', { kind: 'manifest', name: '@s/n', versionOrTag: '1.0.0' }],
    ['/n/latest', { kind: 'manifest', name: 'n', versionOrTag: 'latest' }],
    ['/n/-/n-1.0.0.tgz', { kind: 'tarball', id: id('n', '1.0.0') }],
    ['/n/-/n-1.0.0-rc.1+b.2.tgz', { kind: 'tarball', id: id('n', '1.0.0-rc.1+b.2') }],
    ['/@s/n/-/n-1.0.0.tgz', { kind: 'tarball', id: id('@s/n', '1.0.0') }],
    ['/@s%2fn/-/n-1.0.0.tgz', { kind: 'tarball', id: id('@s/n', '1.0.0') }],
    ['/@s/n/-/@s/n-1.0.0.tgz', { kind: 'tarball', id: id('@s/n', '1.0.0') }],
    ['/-/-/--0.0.1.tgz', { kind: 'tarball', id: id('-', '0.0.1') }],
    ['/-/ping', { kind: 'ping' }],
    ['/-/npm/v1/keys', { kind: 'keys' }],
    ['/-/npm/v1/attestations/n@1.0.0', { kind: 'attestations', id: id('n', '1.0.0') }],
    ['/-/npm/v1/attestations/@s%2fn@1.0.0', { kind: 'attestations', id: id('@s/n', '1.0.0') }],
    ['/-/npm/v1/attestations/@s/n@1.0.0', { kind: 'attestations', id: id('@s/n', '1.0.0') }],
    ['/-/package/@s%2fn/dist-tags', { kind: 'dist-tags', name: '@s/n' }],
    ['/-/attestry/why/@s/n@1.0.0', { kind: 'why', id: id('@s/n', '1.0.0') }],
    ['/-/attestry/health/ready', { kind: 'ready' }],
    ['/-/package/n/dist-tags/latest', { kind: 'dist-tags', name: 'n', tag: 'latest' }],
    ['/-/v1/search?text=a%20b&size=5', { kind: 'search', query: 'text=a%20b&size=5' }],
    ['/-/user/token/secret', { kind: 'unknown' }],
    ['/-/npm/v1/security/advisories/bulk', { kind: 'unknown' }],
    ['/-/all', { kind: 'unknown' }],
    ['/-/_view/starredByUser', { kind: 'unknown' }],
    ['/-/pnpm/v1/publish', { kind: 'unknown' }],
    ['/-/pnpr/x', { kind: 'unknown' }],
    ['/pnpm', { kind: 'packument', name: 'pnpm' }],
    ['/npm', { kind: 'packument', name: 'npm' }],
    ['/n/1.0.0/more', { kind: 'unknown' }],
  ]
  for (const [target, route] of cases) t.same(routeOf(target), route, target)
  for (const target of [
    '/%',
    '/..%2f..%2fetc%2fpasswd',
    '/@s%2f..',
    '/.',
    '/@/n',
    '/a b',
    '/a%00b',
    `/${'a'.repeat(215)}`,
    '/n/-/other-1.0.0.tgz',
    '/n/-/n-.tgz',
    '/n/-/n-1.0.0.zip',
    '/n/-/n-..%2f1.tgz',
    '/-/attestry/why/n',
    '/-/npm/v1/attestations/n@',
  ]) {
    t.throws(
      () => {
        const { kind } = routeOf(target)
        t.equal(kind, 'unknown', target)
        throw new AttestryError('EBADREQUEST', 'nowhere')
      },
      { code: 'EBADREQUEST' },
      target,
    )
  }
})

t.test('forms of a packument', async t => {
  const corgi = 'application/vnd.npm.install-v1+json'
  t.equal(formOf(undefined), 'full')
  t.equal(formOf('*/*'), 'full')
  t.equal(formOf('application/json'), 'full')
  t.equal(formOf('application/json; q=1.0, */*'), 'full')
  t.equal(formOf(corgi), 'abbreviated')
  t.equal(formOf(`${corgi}; q=1.0, application/json; q=0.8, */*`), 'abbreviated')
  t.equal(formOf(`application/json, ${corgi}; q=0.5`), 'full')
})

t.test('validators and ranges', async t => {
  t.ok(matchesEtag('"a", W/"b"', '"b"'))
  t.ok(matchesEtag('*', '"b"'))
  t.notOk(matchesEtag('"a"', '"b"'))
  t.notOk(matchesEtag(undefined, '"b"'))
  t.same(rangeOf('bytes=0-9', 100), { start: 0, end: 9 })
  t.same(rangeOf('bytes=90-', 100), { start: 90, end: 99 })
  t.same(rangeOf('bytes=90-500', 100), { start: 90, end: 99 })
  t.same(rangeOf('bytes=-10', 100), { start: 90, end: 99 })
  t.same(rangeOf('bytes=-500', 100), { start: 0, end: 99 })
  t.equal(rangeOf('bytes=100-', 100), 'unsatisfiable')
  t.equal(rangeOf('bytes=-0', 100), 'unsatisfiable')
  for (const ignored of ['bytes=5-1', 'bytes=0-1,5-6', 'lines=0-1', 'bytes=-', '']) {
    t.equal(rangeOf(ignored, 100), undefined, ignored)
  }
})

t.test('refusals in every vehicle', async t => {
  const verdict: Verdict = {
    package: { name: '@s/bad', version: '1.1.0' },
    decision: 'refuse',
    reasons: [
      {
        code: 'IDENTITY_MISMATCH',
        message: 'Wanted caf\u00e9\r\nx: y',
        field: 'ref',
        wanted: 'a',
        found: 'b',
      },
    ],
    layers: [
      {
        policy: 'org.yaml',
        rule: 'ours',
        mode: 'enforce',
        reasons: [{ code: 'IDENTITY_MISMATCH', message: 'm' }],
      },
    ],
    policyDigest: 'd',
  }
  const answer = refusalAnswer(verdict, 'http://h/-/attestry/why/@s/bad@1.1.0')
  t.match(answer, {
    status: 403,
    body: {
      code: 'EREFUSED',
      policy: 'org.yaml',
      rule: 'ours',
      reasons: [{ wanted: 'a', found: 'b' }],
    },
  })
  t.equal(answer.body['error'], answer.body['message'], 'npm 11 reads error, npm 12 message')
  for (const text of [answer.phrase, answer.headers['npm-notice'] ?? '']) {
    t.match(text, /^[\x20-\x7e]+$/, 'nothing in it can end a header')
    t.match(text, 'IDENTITY_MISMATCH')
    t.match(text, '@s/bad@1.1.0')
  }
  const undecided = refusalAnswer({ ...verdict, decision: 'unavailable' }, 'http://h/')
  t.match(undecided, {
    status: 503,
    body: { code: 'EUNCHECKED' },
    headers: { 'retry-after': '10' },
  })
  t.match(errorAnswer(new AttestryError('ENOTFOUND', 'No x.')), {
    status: 404,
    body: { code: 'ENOTFOUND' },
  })
})

t.test('what is put into a page is escaped', async t => {
  const evil = `<script>"'&`
  t.equal(
    html`<p title="${evil}">${[html`<b>${1}</b>`, undefined]}</p>`.html,
    '<p title="&lt;script&gt;&quot;&#39;&amp;"><b>1</b></p>',
  )
})
