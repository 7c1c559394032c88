import { stripVTControlCharacters } from 'node:util'
import t from 'tap'
import { annotations } from '../../lib/cli/audit/annotations.ts'
import { jsonReport } from '../../lib/cli/audit/json.ts'
import { junitReport } from '../../lib/cli/audit/junit.ts'
import { fitting, markdownReport } from '../../lib/cli/audit/markdown.ts'
import { paintFor, plain, wrap } from '../../lib/cli/audit/paint.ts'
import { openProgress, progressLine } from '../../lib/cli/audit/progress.ts'
import { coverageOf, summaryOf, type Judged } from '../../lib/cli/audit/result.ts'
import { sarifReport } from '../../lib/cli/audit/sarif.ts'
import { tableReport } from '../../lib/cli/audit/table.ts'
import { waiverNotes } from '../../lib/cli/audit/waivers.ts'
import type { State } from '../../lib/types.ts'
import { judged, notJudged, pastProxy, refused, reportOf, unknown } from './audit-material.ts'

const noPaint = (_style: unknown, text: string) => text
const hostile = 'a\u001b[31m\u0000"<b>&\'|`x`]]>\r\n::error::% \u202e,:\ud800'
const many = (n: number, make: (more: Partial<Judged>) => Judged, more: Partial<Judged> = {}) =>
  Array.from({ length: n }, (_, i) => make({ name: `pkg-${i}`, lines: [i + 10], ...more }))

const mixed = reportOf({
  judged: [
    judged({ name: 'fine' }),
    judged({ name: 'seen', reasons: [{ code: 'TOO_NEW', message: 'one day old' }] }),
    judged({ name: 'waived', waiver: 'known' }),
    refused({ lines: [4, 40] }),
    refused({
      name: 'forged',
      lines: [7],
      reasons: [
        { code: 'DENIED', message: 'not that one' },
        { code: 'INVALID_SIGNATURE', message: 'bad', wanted: 'a', found: 'b' },
      ],
    }),
    unknown({ name: 'away', lines: [8] }),
  ],
  pastProxy: [pastProxy(), pastProxy({ name: 'gitty', kind: 'git', covered: false, line: 12 })],
  notJudged: [notJudged],
})

t.test('what it amounts to', async t => {
  const of = (more: Parameters<typeof reportOf>[0]) => summaryOf(reportOf(more))
  t.match(of({ judged: [judged()] }), { outcome: 'clean', exitCode: 0, allowed: 1 })
  t.match(of({}), { outcome: 'clean', exitCode: 0 })
  t.match(of({ judged: [judged(), unknown()] }), { outcome: 'could-not-tell', exitCode: 2 })
  t.match(of({ judged: [unknown(), refused()] }), { outcome: 'refused', exitCode: 1 })
  t.match(of({ pastProxy: [pastProxy()] }), { outcome: 'clean', exitCode: 0 })
  t.match(of({ pastProxy: [pastProxy({ covered: false })] }), { exitCode: 2 })
  t.match(of({ pastProxy: [pastProxy()], strict: true }), { outcome: 'refused', exitCode: 1 })
  t.match(summaryOf(mixed), { allowed: 3, refused: 2, unknown: 1, observed: 1, waived: 1 })
  const facts = (registrySignature: State, provenance: State) =>
    judged({ facts: { registrySignature, publishAttestation: 'absent', provenance } })
  t.same(
    coverageOf([
      facts('verified', 'verified'),
      facts('verified', 'absent'),
      facts('absent', 'absent'),
      // a claim that does not hold is never counted as a mere absence
      facts('invalid', 'absent'),
      facts('verified', 'invalid'),
      facts('unavailable', 'absent'),
      unknown(),
    ]),
    { provenance: 1, signature: 1, unsigned: 1, other: 4 },
  )
})

t.test('waivers that soon end', async t => {
  const now = new Date('2026-05-01T12:00:00.000Z')
  const by = (name: string, days: number, more: Partial<Judged> = {}) =>
    judged({
      name,
      waiver: 'reviewed',
      waiverUntil: new Date(now.getTime() + days * 86_400_000).toISOString(),
      ...more,
    })
  t.same(waiverNotes([by('far', 15), judged({ waiver: 'no end' }), judged()], now), [])
  const notes = waiverNotes(
    [by('b', 4), by('a', 1), by('c', 4), by('d', 4, { waiver: 'other' }), by('e', 0.1)],
    now,
  )
  t.equal(notes.length, 4)
  t.match(notes[0], /^e@1\.3\.0 is let in by a waiver that ends in less than a day/)
  t.match(notes[1], /^a@1\.3\.0 is let in by a waiver that ends in a day, at 2026-05-02T12/)
  t.match(notes[2], /^b@1\.3\.0 and 1 more are let in .* in 4 days, .* \(reviewed\): renew or/)
  t.same(waiverNotes([by('r', 1, { outcome: 'refused' })], now), [], 'what another refuses')
})

t.test('JSON', async t => {
  const document = JSON.parse(jsonReport(mixed)) as Record<string, unknown>
  t.match(document, {
    schemaVersion: 1,
    at: '2026-05-01T12:00:00.000Z',
    lockfile: { file: 'package-lock.json', format: 'npm', formatVersion: '3' },
    outcome: 'refused',
    exitCode: 1,
    counts: { judged: 6, allowed: 3, refused: 2, unknown: 1, pastProxy: 2, notJudged: 1 },
    coverage: { signature: 5, other: 1 },
    pastProxy: [{ covered: true }, { covered: false, kind: 'git' }],
    notJudged: [{ name: 'part', kind: 'workspace' }],
  })
  t.equal((document.packages as unknown[]).length, 6)
})

t.test('SARIF', async t => {
  type Sarif = {
    version: string
    $schema: string
    runs: {
      tool: { driver: { name: string; rules: { id: string; name: string }[] } }
      invocations: { executionSuccessful: boolean }[]
      results: {
        ruleId: string
        ruleIndex: number
        level: string
        message: { text: string }
        locations: {
          physicalLocation: {
            artifactLocation: { uri: string; uriBaseId?: string }
            region: { startLine: number }
          }
        }[]
        relatedLocations?: unknown[]
        partialFingerprints: Record<string, string>
      }[]
    }[]
  }
  const read = (report = mixed) => JSON.parse(sarifReport(report)) as Sarif
  const { version, $schema, runs } = read()
  const [run] = runs
  t.match({ version, $schema }, { version: '2.1.0', $schema: /sarif-2\.1\.0/ })
  if (!run) return t.fail('one run')
  const { rules, name } = run.tool.driver
  t.equal(name, 'Attestry')
  t.same(
    rules.map(rule => rule.id),
    ['DENIED', 'EUPSTREAM', 'INVALID_SIGNATURE', 'PAST_PROXY', 'TOO_NEW'],
    'a rule for each code',
  )
  t.equal(rules.find(rule => rule.id === 'INVALID_SIGNATURE')?.name, 'InvalidSignature')
  for (const rule of rules)
    t.match(rule, { shortDescription: { text: /./ }, help: { text: /./ } }, rule.id)
  t.equal(run.results.length, 7, 'one result for each reason')
  for (const result of run.results) {
    t.equal(rules[result.ruleIndex]?.id, result.ruleId)
    t.match(result.level, /^(error|warning|note)$/)
    t.match(result.message.text, /\S/)
    const [location, ...others] = result.locations
    t.equal(others.length, 0)
    t.equal(location?.physicalLocation.artifactLocation.uri, 'package-lock.json')
    t.ok((location?.physicalLocation.region.startLine ?? 0) >= 1)
    t.match(result.partialFingerprints['attestry/v1'], /^[0-9a-f]{64}$/)
  }
  const prints = run.results.map(result => result.partialFingerprints['attestry/v1'])
  t.equal(new Set(prints).size, prints.length, 'fingerprints tell findings apart')
  const level = (code: string) => run.results.find(({ ruleId }) => ruleId === code)?.level
  t.same(['DENIED', 'EUPSTREAM', 'TOO_NEW'].map(level), ['error', 'warning', 'note'])
  t.equal(run.results.find(({ relatedLocations }) => relatedLocations)?.ruleId, 'DENIED')

  const moved = mixed.judged.map(one => ({ ...one, lines: one.lines.map(line => line + 100) }))
  const after = read({ ...mixed, judged: moved, pastProxy: [] }).runs[0]?.results ?? []
  for (const { partialFingerprints } of after)
    t.ok(prints.includes(partialFingerprints['attestry/v1']), 'lines move, fingerprints stay')

  t.equal(run.invocations[0]?.executionSuccessful, true)
  const unsure = read(reportOf({ file: 'a b/ü#%.json', judged: [unknown()] })).runs[0]
  t.equal(unsure?.invocations[0]?.executionSuccessful, false)
  const place = unsure?.results[0]?.locations[0]?.physicalLocation.artifactLocation
  t.same(place, { uri: 'a%20b/%C3%BC%23%25.json', uriBaseId: '%SRCROOT%' })
  const outside = read(reportOf({ file: '/else where/package-lock.json', judged: [refused()] }))
  t.same(outside.runs[0]?.results[0]?.locations[0]?.physicalLocation.artifactLocation, {
    uri: 'file:///else%20where/package-lock.json',
  })
})

/** Every tag closed, every entity known, no character that XML forbids; gives the elements. */
const elementsOf = (xml: string): string[] => {
  const open: string[] = []
  const seen: string[] = []
  const body = xml.replace(/^<\?xml version="1\.0" encoding="UTF-8"\?>\n/, '')
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/.test(xml) || !xml.isWellFormed())
    throw new Error('a forbidden character')
  const tag = /<(\/?)([a-z]+)((?: [a-z]+="[^"<]*")*)(\/?)>|([^<]+)|(<)/gs
  for (const [whole, end, name = '', values = '', alone, text = '', stray] of body.matchAll(
    tag,
  )) {
    if (stray) throw new Error(`a stray < before ${body.slice(0, 40)}`)
    if (/&(?!(amp|lt|gt|quot|apos|#\d+);)/.test(values + text)) throw new Error(whole)
    if (text !== '' || name === '') continue
    if (end && open.pop() !== name) throw new Error(`${whole} closes nothing`)
    if (!end) seen.push(name)
    if (!end && !alone) open.push(name)
  }
  if (open.length > 0) throw new Error(`${open.join()} is open`)
  return seen
}

t.test('JUnit', async t => {
  const text = junitReport(mixed)
  const count = (name: string) => elementsOf(text).filter(element => element === name).length
  t.same(['testsuite', 'testcase', 'failure', 'error', 'skipped'].map(count), [2, 9, 2, 2, 2])
  t.match(text, '<testsuites name="attestry audit: refused" tests="9" failures="2" errors="2"')
  t.match(text, /<testcase name="left-pad@1\.3\.0"[^>]*line="4"[^>]*time="0\.007"/)
  t.match(junitReport({ ...mixed, strict: true }), /tests="9" failures="4" errors="1"/)
  const evil = refused({ name: hostile, reasons: [{ code: 'DENIED', message: hostile }] })
  const escaped = junitReport(
    reportOf({ file: hostile, judged: [evil], pastProxy: [pastProxy({ message: hostile })] }),
  )
  t.same(
    elementsOf(escaped).filter(name => name === 'b'),
    [],
  )
  t.match(escaped, '&#13;&#10;::error')
})

t.test('annotations', async t => {
  const lines = annotations(mixed, 50).trimEnd().split('\n')
  t.equal(lines.length, 6, 'one for each package version with something to tell')
  t.equal(
    lines[0],
    '::error file=package-lock.json,line=4,title=left-pad@1.3.0 is refused (DENIED)::not that one%0Aattestry why left-pad@1.3.0',
  )
  t.same(
    lines.map(line => /^::(\w+) /.exec(line)?.[1]),
    ['error', 'error', 'warning', 'warning', 'notice', 'notice'],
  )
  const evil = refused({ name: hostile, reasons: [{ code: 'DENIED', message: hostile }] })
  const text = annotations(reportOf({ file: 'a,b:c%.json', judged: [evil] }), 50)
  t.equal(text.split(/[\r\n]/).length, 2, 'nothing in it begins another command')
  t.match(text, 'file=a%2Cb%3Ac%25.json,line=4,title=')
  t.match(text, '%0D%0A::error::%25 ')
  t.match(/title=([^]*?)::/.exec(text)?.[1], '%3A%3Aerror%3A%3A%25 ')
  const cut = annotations(reportOf({ judged: many(9, refused) }), 5)
    .trimEnd()
    .split('\n')
  t.equal(cut.length, 6)
  t.match(cut.at(-1), '4 more')
})

t.test('Markdown', async t => {
  const text = markdownReport(mixed, 100)
  t.match(text, /^## Attestry audit of package-lock\.json: refused\n/)
  for (const part of [
    '### Refused: 2',
    '### Could not tell: 1',
    '### Past the proxy: 2',
    '### Coverage',
    '`package-lock.json:4`',
    '1 entry not judged: workspace',
  ])
    t.match(text, part)
  const evil = refused({
    name: 'a|b`c',
    reasons: [{ code: 'DENIED', message: '<img src=x> [l](http://x.example) @all | *b*' }],
  })
  const row =
    markdownReport(reportOf({ judged: [evil] }), 100)
      .split('\n')
      .find(line => line.includes('DENIED')) ?? ''
  t.notMatch(row, /<img|\]\(http|@all/)
  t.equal(row.replaceAll(String.raw`\|`, '').split('|').length, 6, 'no cell more')
  t.match(row, String.raw`\*b\*`)
  const long = markdownReport(reportOf({ judged: many(9, refused) }), 5)
  t.match(long, 'and 4 more')
  const wide = refused({ reasons: [{ code: 'DENIED', message: 'x'.repeat(20_000) }] })
  const huge = reportOf({ judged: many(200, more => ({ ...wide, ...more })) })
  t.ok(markdownReport(huge, 1e9).length > 2 ** 20)
  t.ok(Buffer.byteLength(fitting(huge, 1e9)) < 2 ** 20, 'it fits on a summary page')
})

t.test('the table', async t => {
  const at = (columns: number, report = mixed, most = 10) =>
    tableReport(report, { columns, paint: noPaint, most })
  const text = at(100)
  const order = [
    'Refused',
    'INVALID_SIGNATURE 1',
    'DENIED 1',
    'Could not tell',
    'EUPSTREAM 1',
    'Past the proxy',
    'Would be refused',
    'TOO_NEW 1',
    'Proven of 6',
  ]
  const places = order.map(part => text.indexOf(part))
  t.ok(places.every(place => place >= 0))
  t.same(
    places,
    places.toSorted((a, b) => a - b),
    'what is worst comes first',
  )
  for (const part of [
    'package-lock.json:4 +1',
    'attestry why left-pad@1.3.0',
    'not judged: 1 workspace',
    '2 refused, 1 could not be judged, 2 past the proxy (1 not judged), 3 allowed',
    '1 of them by waiver',
    'registry signature only',
  ])
    t.match(text.replaceAll(/\n */g, ' '), part)
  t.ok(text.indexOf('gitty') < text.indexOf('far@'), 'what is not judged at all comes first')
  const sentences = 'one two three four five six seven eight nine ten '.repeat(8).trim()
  const wordy = many(4, refused, { version: '10.20.30-beta.1' }).map((one, i) => ({
    ...one,
    name: `@organization/a-rather-long-name-${i}`,
    reasons: [{ code: 'DENIED' as const, message: `${i} ${sentences}` }],
  }))
  const report = reportOf({ judged: wordy, pastProxy: [pastProxy()], notes: [sentences] })
  for (const columns of [40, 80, 100, 140]) {
    const longest = Math.max(
      ...at(columns, report)
        .split('\n')
        .map(line => line.length),
    )
    // a name and its place are never broken
    t.ok(longest <= Math.max(columns, 80), `${longest} characters of ${columns}`)
  }
  // one long name leaves the others where they are, and its own place goes below it
  const name = '@organization-with-a-long-name/a-package-with-a-longer-one'
  const long = reportOf({
    judged: [refused({ name, version: '10.20.30-beta.1' }), refused({ name: 'short' })],
    pastProxy: [pastProxy({ name, version: '10.20.30-beta.1' }), pastProxy({ name: 'near' })],
  })
  for (const line of at(80, long).split('\n')) t.ok(line.length <= 80, line)
  t.match(at(80, long), `    ${name}@10.20.30-beta.1\n      package-lock.json:9  fixable\n`)
  t.match(at(80, long), '    near@2.0.0  package-lock.json:9  fixable\n')
  t.match(at(140, long), /^ {4}near@2\.0\.0 {30,}package-lock\.json:9 {2}fixable$/m)
  const cut = at(80, reportOf({ judged: many(25, refused) }))
  t.match(cut, '... and 15 more; --all shows them')
  t.equal(cut.split('not that one').length, 2, 'what all share is said once')
  t.equal(cut.match(/attestry why pkg-/g)?.length, 10)
  const all = at(80, reportOf({ judged: many(25, refused) }), Number.MAX_SAFE_INTEGER)
  t.equal(all.match(/attestry why pkg-/g)?.length, 25)
  const rare = [
    ...many(40, refused),
    refused({ name: 'rare', reasons: [{ code: 'TOO_NEW', message: 'x' }] }),
  ]
  t.match(
    at(80, reportOf({ judged: rare })),
    'rare@1.3.0',
    'many of one kind do not hide another',
  )
  t.match(
    at(80, reportOf({ judged: [judged()] })),
    /\nclean: 0 refused, 0 could not be judged, 1 allowed/,
  )
  t.match(at(80, reportOf()), /\nclean: /, 'an empty lockfile')
  const evil = refused({ name: hostile, reasons: [{ code: 'DENIED', message: hostile }] })
  const tamed = at(80, reportOf({ file: hostile, judged: [evil], notes: [hostile] }))
  const lines = tamed.split('\n')
  t.same(lines.map(plain), lines, 'nothing in it disturbs a terminal')
})

t.test('colours and widths', async t => {
  const output = (isTTY: boolean) => ({ isTTY, write: () => {} })
  const painted = (isTTY: boolean, env = {}) => paintFor(output(isTTY), env)('red', 'x') !== 'x'
  t.equal(painted(true), true)
  t.equal(painted(true, { NO_COLOR: '' }), true)
  t.equal(painted(true, { NO_COLOR: '1' }), false)
  t.equal(painted(true, { TERM: 'dumb' }), false)
  t.equal(painted(false), false)
  const paint = paintFor(output(true), {})
  const options = { columns: 80, most: 10 }
  const coloured = tableReport(mixed, { ...options, paint })
  t.equal(
    stripVTControlCharacters(coloured),
    tableReport(mixed, { ...options, paint: noPaint }),
  )
  // yellow, blue and cyan, white and black are unreadable on one ground or the other
  // eslint-disable-next-line no-control-regex
  t.notMatch(coloured, /\u001b\[(30|33|34|36|37|9\d|4\d)m/)
  t.same(wrap('aa bb cc', 5), ['aa bb', 'cc'])
  t.same(wrap(`${paint('red', 'aa')} bb cc`, 5).length, 2, 'colours have no width')
  t.equal(plain('a\u001b\nb\u202e'), 'a\\u{1b}\\u{a}b\\u{202e}')
})

t.test('progress', async t => {
  let now = 0
  const writes: string[] = []
  const output = (isTTY: boolean) => ({
    isTTY,
    columns: 80,
    write: (text: string) => writes.push(text),
  })
  const options = { paint: noPaint, title: 'auditing', total: 1000, clock: () => now }
  const quiet = openProgress({ ...options, output: output(false) })
  quiet.at({ name: 'a', version: '1.0.0' })
  quiet.step()
  quiet.end()
  t.same(writes, [], 'nothing where it is no terminal')
  const bar = openProgress({ ...options, output: output(true) })
  for (now = 0; now < 1000; now++) {
    bar.at({ name: `pkg-${now}`, version: '1.0.0' })
    bar.step()
  }
  t.ok(writes.length <= 10, 'at most ten times a second')
  t.ok(writes.at(-1)?.startsWith('\r\u001b[K'), 'each over the one before')
  t.match(writes.at(-1), / 90\d\/1000 .*pkg-900@1\.0\.0$/)
  bar.end()
  t.equal(writes.at(-1), '\r\u001b[K', 'gone at the end')
  const state = {
    title: 'auditing',
    done: 12,
    total: 345,
    milliseconds: 61_000,
    name: `@s/${'n'.repeat(200)}`,
  }
  for (const columns of [20, 40, 80, 140]) {
    const line = progressLine(state, columns, noPaint)
    t.ok(line.length < Math.max(columns, 36), `${line.length} of ${columns}`)
    t.match(line, '12/345')
    t.match(line, '1:01')
  }
  t.notMatch(progressLine({ ...state, name: '\u001b[2J' }, 80, noPaint), '\u001b')
  t.match(progressLine({ ...state, total: 0, done: 0 }, 80, noPaint), '0/0')
})
