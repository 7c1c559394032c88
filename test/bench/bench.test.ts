/** The benchmark's own arithmetic and its upstream: figures that are wrong are worse than none. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createHash } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { request } from 'undici'
import { svgOf } from './chart.ts'
import { costsOf, type CpuProfile } from './cpu-profile.ts'
import { undiciLoad } from './load.ts'
import { cpuOf, hasProc, memoryOf, treeOf } from './machine.ts'
import { markdown } from './report.ts'
import { startUpstream } from './start-upstream.ts'
import { median, percentile, ratios, show, showSpread } from './statistics.ts'

t.test('medians, percentiles and ratios', async t => {
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 2, 3]), 2.5)
  t.ok(Number.isNaN(median([])))
  const hundred = Array.from({ length: 100 }, (_, i) => i)
  t.equal(percentile(hundred, 0.5), 50)
  t.equal(percentile(hundred, 0.99), 99)
  t.equal(percentile(hundred, 1), 99)
  // the second round was disturbed for both
  t.strictSame(ratios([10, 5, 30], [20, 10, 20]), { median: 0.5, least: 0.5, most: 1.5 })
  t.strictSame(ratios([10, 5], [0, 10]), { median: 0.5, least: 0.5, most: 0.5 })
  t.equal(ratios([1], []), undefined)
  t.strictSame([0, 0.0123, 1.234, 12.34, 1234.5].map(show), [
    '0',
    '0.012',
    '1.23',
    '12.3',
    '1235',
  ])
  t.equal(show(Number.POSITIVE_INFINITY), '-')
  t.equal(showSpread({ median: 1, least: 0.5, most: 2 }), '1.00 (0.500 to 2.00)')
})

t.test('tables and charts', async t => {
  const table = markdown({ title: 'T', columns: ['a', 'b'], rows: [['1', '2']] })
  t.equal(table, '### T\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n')
  const values = new Map([
    ['nginx', 1],
    ['attestry', 0.4],
    ['pnpr', 0],
  ])
  const svg = svgOf({ title: 'A & B', base: 'nginx', bars: [{ label: '<x>', values }] })
  t.match(svg, /A &amp; B[^]*&lt;x&gt;/)
  t.notMatch(svg, /NaN|Infinity/)
  // the ground, two in the legend, and one bar: nothing is drawn for what served nothing
  t.equal(svg.match(/<rect /g)?.length, 4)
})

t.test('costs of a profile', async t => {
  const node = (id: number, functionName: string, url: string, children: number[] = []) => ({
    id,
    callFrame: { functionName, url, lineNumber: 0 },
    children,
  })
  const profile: CpuProfile = {
    nodes: [
      node(1, '(root)', '', [2, 5]),
      node(2, 'answer', 'file:///x/lib/http/app.ts', [3, 4]),
      node(3, 'answer', 'file:///x/lib/http/app.ts'),
      node(4, 'get', 'file:///x/node_modules/lru-cache/index.js'),
      node(5, '(idle)', ''),
    ],
    samples: [2, 3, 4, 5],
    timeDeltas: [100, 200, 100, 1000],
  }
  t.strictSame(costsOf(profile, 'part'), [
    { name: 'lib/http', self: 0.75, total: 1 },
    { name: 'lru-cache', self: 0.25, total: 0.25 },
  ])
  t.equal(costsOf(profile, 'function')[0]?.name, 'answer lib/http/app.ts:1')
})

t.test('load, and what does not go well', async t => {
  let asked = 0
  const server = createServer((_, response) => {
    response.writeHead(++asked % 2 === 0 ? 500 : 200).end('12345')
  })
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  t.teardown(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const load = { url, path: '/', headers: {}, seconds: 0.2, connections: 4 }
  const { requests, failed, p50, p99, megabytesPerSecond, perSecond } =
    await undiciLoad.run(load)
  t.equal(requests, asked)
  t.ok(Math.abs(failed - asked / 2) <= 1)
  t.ok(p50 > 0 && p50 <= p99)
  t.ok(Math.abs(megabytesPerSecond / perSecond / 5e-6 - 1) < 0.01)
})

t.test('the kernel tells of processes', { skip: !hasProc }, async t => {
  t.ok(treeOf(process.pid).includes(process.pid))
  t.ok(cpuOf(process.pid) > 0)
  const { rss, peak } = memoryOf(process.pid)
  t.ok(rss > 10 && peak >= rss)
})

t.test('the upstream is a registry', async t => {
  const upstream = await startUpstream({ packages: 8, large: 0 })
  t.teardown(() => upstream.stop())
  const { url, names, tarballs } = upstream
  t.equal(names.length, 8)
  t.equal(tarballs.length, 8)
  const get = async (path: string, headers = {}) => {
    const { statusCode, headers: sent, body } = await request(`${url}/${path}`, { headers })
    return { statusCode, sent, bytes: Buffer.from(await body.arrayBuffer()) }
  }
  type Dist = { tarball: string; integrity: string; attestations?: { url: string } }
  let attested = 0
  for (const name of [...names, 'tar-10k']) {
    const plain = await get(name.replace('/', '%2f'))
    const packed = await get(name.replace('/', '%2f'), { 'accept-encoding': 'gzip' })
    t.ok(gunzipSync(packed.bytes).equals(plain.bytes), name)
    const packument = JSON.parse(plain.bytes.toString()) as {
      'dist-tags': { latest: string }
      versions: Record<string, { dist: Dist }>
    }
    const dist = packument.versions[packument['dist-tags'].latest]?.dist as Dist
    const tarball = await get(dist.tarball.slice(url.length + 1))
    const digest = createHash('sha512').update(tarball.bytes).digest('base64')
    t.equal(dist.integrity, `sha512-${digest}`)
    if (dist.attestations === undefined) continue
    attested++
    t.equal((await get(dist.attestations.url.slice(url.length + 1))).statusCode, 200)
  }
  t.ok(attested >= 2)
  const { sent } = await get('small')
  t.equal((await get('small', { 'if-none-match': sent.etag })).statusCode, 304)
  t.equal((await get('none')).statusCode, 404)
})
