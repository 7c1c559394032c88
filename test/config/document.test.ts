import t from 'tap'
import { z } from 'zod'
import { readDocument, type Complaint } from '../../lib/config/document.ts'
import { editDistance, nearest } from '../../lib/config/nearest.ts'
import { formatDuration, formatSize, parseDuration, parseSize } from '../../lib/config/units.ts'
import { AttestryError } from '../../lib/errors.ts'

const schema = z.strictObject({
  name: z.string().optional(),
  color: z.string().optional(),
  list: z
    .array(
      z.union([
        z.string(),
        z.strictObject({ file: z.string(), deep: z.strictObject({ n: z.int() }).optional() }),
      ]),
    )
    .optional(),
  map: z.record(z.string().regex(/^[a-z]+$/, { error: 'small letters' }), z.int()).optional(),
})

const read = (text: string) => readDocument(text, { file: 'f.yaml', schema, code: 'EPOLICY' })

const complaints = (text: string): readonly Complaint[] => {
  try {
    read(text)
  } catch (error) {
    if (error instanceof AttestryError && error.code === 'EPOLICY')
      return error.details['complaints'] as Complaint[]
    throw error
  }
  throw new Error('nothing was complained about')
}
const places = (text: string) => complaints(text).map(c => `${c.line}:${c.column}`)

t.test('a good document has its value and the place of every node', async t => {
  const { value, place } = read('name: x\nlist:\n  - a\n  - file: b\n    deep: { n: 3 }\n')
  t.strictSame(value, { name: 'x', list: ['a', { file: 'b', deep: { n: 3 } }] })
  t.match(place(['name']), { file: 'f.yaml', line: 1, column: 1 })
  t.match(place(['list', 1]), { line: 4, column: 5 })
  t.match(place(['list', 1, 'deep', 'n']), { line: 5, column: 13 })
  t.match(place(['list', 1, 'deep', 'missing']), { line: 5, column: 11 }, 'nearest ancestor')
})

t.test('an empty document is an empty mapping', async t => {
  t.strictSame(read('').value, {})
  t.strictSame(read('# only a comment\n').value, {})
})

t.test('complaints stand where the mistake is', async t => {
  t.strictSame(places('name: 3\ncolor: []'), ['1:1', '2:1'], 'all of them at once')
  t.strictSame(places('list:\n  - a\n  - 7'), ['3:5'])
  t.strictSame(
    places('list:\n  - file: x\n    deep: { n: y }'),
    ['3:13'],
    'inside a union branch',
  )
  t.strictSame(places('map:\n  a: 1\n  B: 2'), ['3:3'], 'a bad key')
  t.strictSame(places('name: x\nname: y'), ['2:1'], 'a key given twice')
  t.strictSame(places('- a'), ['1:1'], 'not a mapping')
  t.strictSame(places('name: "x'), ['1:9'], 'broken YAML')
  t.strictSame(places('colr: x\nname: 3\nnam: y'), ['1:1', '2:1', '3:1'], 'from the top down')
})

t.test('what was wanted is said in the words of the file', async t => {
  const [list] = complaints('- a')
  t.equal(list?.message, 'document: wanted a mapping of keys to values; found a list')
  t.equal(complaints('name: 3')[0]?.message, 'name: wanted text; found 3')
})

t.test('an unknown key is told with the nearest known ones', async t => {
  const [top] = complaints('nmae: x')
  t.match(top, { line: 1, column: 1, message: /"nmae".*"name"/ })
  const [inner] = complaints('list:\n  - file: x\n    deep: { n: 3 }\n    dep: 1')
  t.match(inner, { line: 4, column: 5, message: /"dep".*"deep"/ })
  t.notMatch(complaints('zebra: 1')[0]?.message, /did you mean/)
})

t.test('passwords inside URLs are not repeated', async t => {
  t.notMatch(complaints('map: { a: "https://me:hunter2@host/" }')[0]?.message, /hunter2|me:/)
})

t.test('bounds', async t => {
  t.equal(complaints(`name: ${'x'.repeat(4 * 1024 * 1024)}`).length, 1, 'length of the text')
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x,x]']
  for (let i = 1; i < 9; i++) {
    const [from, to] = [String.fromCodePoint(96 + i), String.fromCodePoint(97 + i)]
    bomb.push(`${to}: &${to} [${Array.from({ length: 10 }, () => `*${from}`).join(',')}]`)
  }
  t.equal(complaints(bomb.join('\n')).length, 1, 'aliases of aliases')
})

t.test('nearest', async t => {
  t.equal(editDistance('abc', 'abc'), 0)
  t.equal(editDistance('abc', 'acb'), 1, 'neighbours swapped')
  t.equal(editDistance('', 'abc'), 3)
  t.equal(editDistance('kitten', 'sitting'), 3)
  t.strictSame(nearest('conections', ['connections', 'retries']), ['connections'])
  t.strictSame(nearest('LISTEN', ['listen']), ['listen'])
  t.strictSame(nearest('x'.repeat(101), ['x'.repeat(100)]), [], 'a long word is not compared')
})

t.test('units', async t => {
  const durations = {
    '250ms': 250,
    '30s': 30_000,
    '5m': 300_000,
    '2h': 7_200_000,
    '3d': 259_200_000,
  }
  for (const [text, value] of Object.entries(durations)) {
    t.equal(parseDuration(text), value)
    t.equal(parseDuration(formatDuration(value)), value)
  }
  const sizes = { '0B': 0, '10KB': 10_000, '64MiB': 67_108_864, '2GiB': 2_147_483_648 }
  for (const [text, value] of Object.entries(sizes)) {
    t.equal(parseSize(text), value)
    t.equal(parseSize(formatSize(value)), value)
  }
  t.equal(formatDuration(300_000), '5m')
  t.equal(formatSize(67_108_864), '64MiB')
  for (const text of ['', '5', '5 m', '-5m', '1.5h', 'm', '5M', '5mm', '5m ', '5m\n', '٣s'])
    t.equal(parseDuration(text), undefined, JSON.stringify(text))
  for (const text of ['', '64', '64mib', '64M', '-1B', '1e3B', '999999999999999TiB'])
    t.equal(parseSize(text), undefined, JSON.stringify(text))
})
