/** Malformed and hostile files: a complaint with a place, nothing else thrown, nothing endless. */
import { deepStrictEqual as deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { parse as parseWithYaml, stringify as stringifyWithYaml } from 'yaml'
import { isAttestryError, messageOf } from '../../lib/errors.ts'
import { parseJson } from '../../lib/lockfile/json.ts'
import { openSource, type Located } from '../../lib/lockfile/located.ts'
import { MAX_LOCKFILE, readLockfile } from '../../lib/lockfile/read.ts'
import { parseYarnText } from '../../lib/lockfile/yarn-text.ts'
import { parseYaml } from '../../lib/lockfile/yaml.ts'
import { digest, fromRegistry, read, samples } from './samples.ts'

/** Where the complaint about a text is, `line:column`; other errors and none fail the test. */
const complaintAt = (
  t: Pick<Test, 'ok' | 'match' | 'fail'>,
  text: string,
  file = 'some.lock',
): string => {
  try {
    readLockfile(text, { file })
  } catch (error) {
    t.ok(isAttestryError(error), messageOf(error))
    const message = messageOf(error)
    t.match(error, { code: 'ELOCKFILE', message: /^[^\n]*: found [^\n]+; wanted [^\n]+$/ })
    return new RegExp(`^${file}:(\\d+:\\d+): `).exec(message)?.[1] ?? message
  }
  t.fail('no complaint')
  return ''
}

const npm = (packages: string) => `{"lockfileVersion":3,"packages":{\n${packages}\n}}`
const pnpm = (packages: string) => `lockfileVersion: '9.0'\npackages:\n${packages}`
const yarn1 = (entries: string) => `# yarn lockfile v1\n${entries}`
const yarn4 = (entries: string) => `__metadata:\n  version: 8\n${entries}`
const bun = (packages: string) =>
  `{"lockfileVersion":1,"workspaces":{},"packages":{\n${packages}\n}}`

t.test('what is wrong has a place', t => {
  const integrity = digest(1)
  const cases: readonly (readonly [name: string, text: string, place: string])[] = [
    ['nothing', '', '1:1'],
    ['another file', 'hello\n', '1:1'],
    ['JSON of something else', '{"name":"x"}', '1:1'],
    ['a list', '[]', '1:1'],
    ['JSON that ends early', '{"lockfileVersion":3,\n"packages":{', '2:13'],
    ['text after JSON', npm('').concat('\nx'), '4:1'],
    ['a string without end', npm('"a'), '2:3'],
    ['a raw control character', npm('"a\u0001":1'), '2:3'],
    ['a bad escape', npm('"\\x":1'), '2:1'],
    ['a number with a leading zero', npm('"a": 01'), '2:7'],
    ["npm's JSON with a comma too many", npm('"node_modules/a":{"version":"1.0.0",}'), '2:36'],
    ["npm's JSON with a comment", npm('// hello'), '2:1'],
    ['a string for a mapping', npm('"node_modules/a":"1.0.0"'), '2:18'],
    ['a number for a string', npm('"node_modules/a":{"version":1}'), '2:29'],
    ['no version that could be one', npm('"node_modules/a":{"version":"^1.0.0"}'), '2:1'],
    ['no name that could be one', npm('"node_modules/..":{"version":"1.0.0"}'), '2:1'],
    ['a name with a path', npm('"node_modules/a":{"name":"../b","version":"1.0.0"}'), '2:1'],
    ['a newer npm', '{"lockfileVersion":4}', '1:20'],
    ["npm's merge conflict", npm('<<<<<<< HEAD\n'), '2:1'],
    ['a newer pnpm', "lockfileVersion: '10.0'\n", '1:18'],
    ['an older pnpm', 'lockfileVersion: 5.4\n', '1:18'],
    ['a package without resolution', pnpm('  a@1.0.0: {}\n'), '3:3'],
    ['a snapshot alone', `${pnpm('')}snapshots:\n  a@1.0.0: {}\n`, '4:3'],
    ['an anchor', pnpm('  a@1.0.0: &x {}\n'), '3:12'],
    ['an alias', pnpm('  a@1.0.0: *x\n'), '3:12'],
    ['a tag', pnpm('  a@1.0.0: !!str x\n'), '3:12'],
    ['a merge key', pnpm('  <<: {}\n'), '3:3'],
    ['a tab', pnpm('\ta@1.0.0: {}\n'), '3:1'],
    ['indentation that goes astray', pnpm('  a@1.0.0:\n    x: 1\n   y: 2\n'), '5:4'],
    ['a value that goes on', pnpm('  a@1.0.0: b\n    c\n'), '4:5'],
    ['a flow collection without end', pnpm('  a@1.0.0: {a: b\n'), '4:1'],
    ['a key without colon in a flow', pnpm('  a@1.0.0: {a, b}\n'), '3:13'],
    ['a colon too many', pnpm('  a@1.0.0: b: c\n'), '3:12'],
    ['a quoted string of two lines', pnpm("  a@1.0.0: 'b\n  c'\n"), '3:12'],
    [
      'several lines for an address',
      pnpm('  a@1.0.0:\n    resolution:\n      tarball: |\n        x\n'),
      '5:16',
    ],
    ['a lone carriage return', pnpm('  a@1.0.0:\r    resolution: {}\n'), '3:11'],
    ['a directive', `%YAML 1.2\n---\n${pnpm('')}`, '1:1'],
    ['a newer yarn', '__metadata:\n  version: 11\n', '2:12'],
    ['an entry of yarn 4 without locator', yarn4('"a@npm:1":\n  version: 1.0.0\n'), '3:1'],
    ['a range for a locator', yarn4('"a@npm:1":\n  resolution: "a@npm:^1"\n'), '3:1'],
    ['two documents of yarn 4', yarn4('---\na: b\n'), '4:1'],
    ['yarn 1 with an odd indentation', yarn1('a@^1:\n   version "1.0.0"\n'), '2:5'],
    ['yarn 1 with nothing below a key', yarn1('a@^1:\nb@^1:\n  version "1.0.0"\n'), '2:5'],
    ['yarn 1 with a string without end', yarn1('a@^1:\n  version "1.0.0\n'), '3:11'],
    [
      'yarn 1 with a word that its tokenizer splits',
      yarn1('truex@^1:\n  version "1.0.0"\n'),
      '2:1',
    ],
    ['yarn 1 with text after a value', yarn1('a@^1:\n  version "1.0.0" x\n'), '3:19'],
    ['yarn 1 without version', yarn1('a@^1:\n  integrity x\n'), '2:1'],
    ["bun's entry that is no list", bun('"a": {}'), '2:6'],
    ["bun's empty entry", bun('"a": []'), '2:6'],
    ["bun's entry without source", bun('"a": ["a"]'), '2:7'],
    ["bun's entry without address", bun('"a": ["a@1.0.0"]'), '2:6'],
    ["bun's address that is none", bun(`"a": ["a@1.0.0", 1, {}, "${integrity}"]`), '2:18'],
    ["bun's path without end", bun(`"${'a/'.repeat(100)}a": ["a@1.0.0", "", {}, ""]`), '2:1'],
    ['a newer bun', '{"lockfileVersion":9,"workspaces":{}}', '1:20'],
    ['a binary file', 'lockfileVersion: 9\n\u0000', '2:1'],
  ]
  for (const [name, text, place] of cases)
    t.test(name, t => {
      t.equal(complaintAt(t, text), place)
      t.end()
    })
  t.test('what YAML would make something else of, where any string would do', t => {
    const entry = (lines: string) => pnpm(`  a@1.0.0:\n    resolution: {}\n${lines}\n`)
    const plain = entry('    x: {y: [z]}')
    t.equal(readLockfile(plain, { file: 'x' }).packages.length, 1)
    for (const odd of ['&z z', '*z', '!z z', '%z', '@z', '`z', '!!str z', '|', '>-'])
      t.equal(complaintAt(t, plain.replace('z', odd)), '5:13', odd)
    for (const odd of ['x: &z z', 'x: *z', 'x: !z z', 'x: @z', 'x: %z'])
      t.equal(complaintAt(t, entry(`    ${odd}`)), '5:8', odd)
    for (const odd of ['<<: {}', '&x y: z', '*x : y', '!x y: z'])
      t.equal(complaintAt(t, entry(`    ${odd}`)), '5:5', odd)
    t.end()
  })
  t.test('merge conflicts are called so', t => {
    for (const { file, text } of samples) {
      const lines = text.split('\n')
      const conflict = lines
        .toSpliced(9, 0, '<<<<<<< HEAD', '=======', '>>>>>>> main')
        .join('\n')
      t.equal(complaintAt(t, conflict, file), '10:1')
      t.throws(() => readLockfile(conflict, { file }), { message: /merge conflict/ })
    }
    t.end()
  })
  t.test("bun's binary lockfile", t => {
    const text = '#!/usr/bin/env bun\nbun-lockfile-format-v0\n\u0003\u0000\u0000'
    t.equal(complaintAt(t, text), '1:1')
    t.throws(() => readLockfile(text, { file: 'bun.lockb' }), { message: /save-text-lockfile/ })
    t.end()
  })
  t.end()
})

t.test('a key that stands twice is no matter of taste', t => {
  const entry = '"node_modules/a":{"version":"1.0.0"}'
  t.equal(complaintAt(t, npm(`${entry},\n"node_modules\\/a":{"version":"2.0.0"}`)), '3:1')
  t.equal(complaintAt(t, npm('"node_modules/a":{"version":"1.0.0","version":"2.0.0"}')), '2:37')
  t.equal(complaintAt(t, `${pnpm('  a@1.0.0: {}\n')}packages: {}\n`), '4:1')
  t.equal(complaintAt(t, pnpm('  a@1.0.0: {resolution: {}, resolution: {}}\n')), '3:29')
  t.equal(complaintAt(t, yarn4('"a@npm:1": {}\n"a@npm:1": {}\n')), '4:1')
  const field = '  version "1.0.0"\n'
  t.equal(complaintAt(t, yarn1(`a@^1:\n${field}b@^1, a@^1:\n${field}`)), '4:7')
  t.equal(complaintAt(t, yarn1(`a@^1:\n${field}${field}`)), '4:3')
  t.equal(complaintAt(t, bun('"a": ["a@workspace:a"],\n"a": ["a@workspace:b"],')), '3:1')
  t.end()
})

t.test('__proto__ and its like are names as any other', t => {
  const names = ['__proto__', 'constructor', 'toString']
  const texts = (name: string) => [
    npm(`"node_modules/${name}":{"version":"1.0.0","__proto__":{"version":"6.6.6"}}`),
    JSON.stringify({ lockfileVersion: 1 }).replace(
      '}',
      `,"dependencies":{"${name}":{"version":"1.0.0"}}}`,
    ),
    pnpm(`  ${name}@1.0.0:\n    resolution: {__proto__: {tarball: x}}\n    __proto__: x\n`),
    yarn1(`"${name}@^1":\n  version "1.0.0"\n  dependencies:\n    "__proto__" "^1"\n`),
    yarn4(`"${name}@npm:^1":\n  resolution: "${name}@npm:1.0.0"\n  __proto__: x\n`),
    bun(
      `"${name}": ["${name}@1.0.0", "", {"__proto__": {}, "dependencies": {"__proto__": ""}}, ""]`,
    ),
  ]
  for (const name of names)
    for (const text of texts(name)) {
      const { packages } = readLockfile(text, { file: 'some.lock' })
      t.same(fromRegistry(packages), [`${name}@1.0.0`])
      t.equal(packages[0]?.resolved, undefined)
    }
  t.equal(({} as { version?: string }).version, undefined)
  t.end()
})

t.test('limits', t => {
  const large = npm(' '.repeat(MAX_LOCKFILE))
  t.throws(() => readLockfile(large, { file: 'x' }), { code: 'ELOCKFILE', message: /at most/ })
  const deep = 5000
  t.equal(complaintAt(t, `{"lockfileVersion":3,"a":${'['.repeat(deep)}`), '1:226')
  t.equal(complaintAt(t, `{"lockfileVersion":3,"a":${'{"a":'.repeat(deep)}`), '1:1026')
  t.equal(complaintAt(t, `lockfileVersion: '9.0'\na: ${'['.repeat(deep)}`), '2:204')
  t.equal(complaintAt(t, `lockfileVersion: '9.0'\na:\n  ${'- '.repeat(deep)}`), '3:403')
  const steps = Array.from({ length: 300 }, (_, n) => `${' '.repeat(n)}a:`).join('\n')
  t.equal(complaintAt(t, `lockfileVersion: '9.0'\n${steps}`), '203:202')
  const nested = Array.from({ length: 300 }, (_, n) => `${'  '.repeat(n)}a:`).join('\n')
  t.equal(complaintAt(t, yarn1(nested)), '203:403')
  const names = Array.from({ length: 1_500_001 }, (_, n) => `a${n}`).join(',')
  for (const many of [`{"lockfileVersion":3,"a":[${'1,'.repeat(1_500_000)}1]}`, yarn1(names)])
    t.throws(() => readLockfile(many, { file: 'x' }), {
      code: 'ELOCKFILE',
      message: /^x:\d+:\d+: found more values/,
    })
  t.match(
    complaintAt(t, npm(`"node_modules/a":{"version":"1.0.0${'0'.repeat(300)}"}`)),
    /^2:1$/,
  )
  t.end()
})

t.test('what could take the square of its length, and does not', t => {
  const many = 150_000
  const numbered = (line: (n: number) => string) =>
    Array.from({ length: many }, (_, n) => line(n)).join('')
  const one = yarn1(`${numbered(n => `a@${n}, `)}a@x:\n  version "1.0.0"\n`)
  t.same(fromRegistry(readLockfile(one, { file: 'yarn.lock' }).packages), ['a@1.0.0'])
  const keys = `lockfileVersion: '9.0'\nsettings:\n${numbered(n => `  k${n}: |\n\n`)}`
  t.same(readLockfile(keys, { file: 'pnpm-lock.yaml' }).packages, [])
  const comments = `{"lockfileVersion":1,"workspaces":{},${'/**/'.repeat(many)}"packages":{}}`
  t.same(readLockfile(comments, { file: 'bun.lock' }).packages, [])
  const brackets = `${pnpm('')}snapshots:\n  a@1${'(a)'.repeat(many)}: {}\n`
  t.equal(complaintAt(t, brackets), '4:3')
  const chain = bun(
    Array.from(
      { length: 20_000 },
      (_, n) => `"p${n}":["p${n}@1.0.0","",{"dependencies":{"p${n + 1}":"1"}},""]`,
    ).join(',\n'),
  )
  t.equal(readLockfile(chain, { file: 'bun.lock' }).packages.length, 20_000)
  t.end()
})

const signs =
  '" \' { } [ ] : , # @ | ( ) ? \\ :: ../ null 0 __proto__ node_modules/ link: npm: https://'
const pieces = [
  ...signs.split(' '),
  '',
  ': ',
  '  ',
  '- ',
  '? ',
  '---\n',
  '\n',
  '\r',
  '\t',
].concat(['\u0000', '\u2028', '\uD800'])

/** The text with a few pieces taken out, doubled, moved or replaced. */
const mutated = (text: string) =>
  fc
    .array(
      fc.record({
        at: fc.nat(text.length),
        length: fc.oneof(fc.nat(3), fc.nat(80)),
        put: fc.oneof(
          fc.constantFrom(...pieces),
          fc.string({ maxLength: 8, unit: 'binary' }),
          fc.nat(text.length).map(at => text.slice(at, at + 40)),
        ),
      }),
      { minLength: 1, maxLength: 4 },
    )
    .map(changes =>
      changes.reduce(
        (text, { at, length, put }) => text.slice(0, at) + put + text.slice(at + length),
        text,
      ),
    )

t.test('samples with damage: read, or ELOCKFILE with a place in the file', t => {
  for (const { name, file, text } of samples) {
    let refused = 0
    fc.assert(
      fc.property(mutated(text), damaged => {
        const lines = damaged.split('\n').length
        try {
          for (const entry of read({ file, text: damaged }).packages) {
            if (entry.line < 1 || entry.line > lines) return false
            if (entry.kind === 'registry' && (entry.name === '' || entry.version === ''))
              return false
            for (const { start, end } of entry.resolvedAt)
              if (file !== 'yarn.lock' && damaged.slice(start, end) !== entry.resolved)
                return false
          }
          return true
        } catch (error) {
          refused++
          const place = /^[^:]+:(\d+):\d+: found /.exec(messageOf(error))
          return (
            isAttestryError(error) && error.code === 'ELOCKFILE' && Number(place?.[1]) <= lines
          )
        }
      }),
      { numRuns: 150 },
    )
    t.ok(refused > 0, `${name}: ${refused} of 150 refused`)
  }
  t.end()
})

type Plain = string | readonly Plain[] | { readonly map: readonly (readonly [string, Plain])[] }

const sorted = (entries: readonly (readonly [string, Plain])[]): Plain => ({
  map: entries.toSorted(([a], [b]) => (a < b ? -1 : 1)),
})
const plainOf = (node: Located): Plain =>
  node.kind === 'scalar'
    ? String(node.value)
    : node.kind === 'list'
      ? node.items.map(plainOf)
      : sorted(Array.from(node.entries, ([key, { value }]) => [key, plainOf(value)] as const))
const plainOfValue = (value: unknown): Plain =>
  Array.isArray(value)
    ? value.map(plainOfValue)
    : value !== null && typeof value === 'object'
      ? sorted(Object.entries(value).map(([key, value]) => [key, plainOfValue(value)] as const))
      : String(value)

t.test('the same values as other parsers see', t => {
  let compared = 0
  const same = (ours: Plain | undefined, theirs: Plain) => {
    deepEqual(ours, theirs)
    compared++
  }
  t.beforeEach(() => {
    compared = 0
  })
  t.test('JSON', t => {
    fc.assert(
      fc.property(fc.json({ noUnicodeString: false }), fc.nat(3), (json, indent) => {
        const text = JSON.stringify(JSON.parse(json), null, indent)
        same(plainOf(parseJson(openSource(text, 'x')).value), plainOfValue(JSON.parse(text)))
      }),
    )
    t.ok(compared >= 20, `${compared} compared`)
    t.end()
  })
  t.test('YAML', t => {
    const text = fc.oneof(
      fc.constantFrom(
        'a@1.0.0',
        '@s/a@1.0.0(b@2.0.0)',
        'https://a.example/#b',
        '- a',
        '? a',
        'a: b',
        "'",
        '"',
      ),
      fc.constantFrom(
        '',
        ' ',
        '~',
        'null',
        'true',
        '1.0',
        '#',
        'a #b',
        '---',
        '|',
        '{a}',
        '&a',
        '*a',
        '!a',
        '%a',
      ),
      fc.string({ maxLength: 12 }),
    )
    const { value } = fc.letrec(tie => ({
      value: fc.oneof(
        { maxDepth: 4 },
        text,
        fc.dictionary(text, tie('value'), { maxKeys: 4 }),
        fc.array(tie('value'), { maxLength: 3 }),
      ),
    }))
    const options = { lineWidth: 0, minContentWidth: 0 } as const
    fc.assert(
      fc.property(
        fc.dictionary(text, value, { minKeys: 1 }),
        fc.boolean(),
        (value, isSingle) => {
          const yaml = stringifyWithYaml(value, { ...options, singleQuote: isSingle })
          const [root] = parseYaml(openSource(yaml, 'x'))
          const theirs: unknown = parseWithYaml(yaml, { schema: 'failsafe' })
          same(root && plainOf(root), plainOfValue(theirs))
        },
      ),
    )
    t.ok(compared >= 20, `${compared} compared`)
    t.end()
  })
  t.test("YAML as damage leaves it: never other values than yaml's", t => {
    const given = samples.filter(({ file }) => file === 'pnpm-lock.yaml')
    for (const { text } of given)
      fc.assert(
        fc.property(mutated(text), damaged => {
          let ours: readonly Located[]
          try {
            ours = parseYaml(openSource(damaged, 'x'))
          } catch {
            return true
          }
          if (
            ours.length !== 1 ||
            /[|>]|\r(?!\n)/.test(damaged.replaceAll('deprecated: |-', ''))
          )
            return true
          let theirs: unknown
          try {
            theirs = parseWithYaml(damaged, { schema: 'failsafe', logLevel: 'error' })
          } catch {
            return true
          }
          const own = JSON.stringify(ours.map(plainOf)[0])
          // of text of several lines only the place is read
          const other = JSON.stringify(plainOfValue(theirs)).replace(
            /"not\\n\\n.*?any more"/,
            '""',
          )
          if (own === other) compared++
          return own === other
        }),
        { numRuns: 200 },
      )
    t.ok(compared >= 20, `${compared} compared`)
    t.end()
  })
  t.test("yarn 1's text", t => {
    const word = fc.oneof(
      fc.constantFrom(
        'a@^1',
        '@s/a@1.0.0',
        'true',
        'false1',
        '1.0.0',
        'a b',
        'x:y',
        '',
        'a,b',
        '#',
        '"',
      ),
      fc.string({ maxLength: 10 }),
    )
    // as yarn's stringify decides what to quote
    const isBare = /^(?!true|false)[A-Za-z/.-][^\s:,"\\]*$/
    const quote = (text: string) => (isBare.test(text) ? text : JSON.stringify(text))
    fc.assert(
      fc.property(fc.dictionary(word, fc.dictionary(word, word, { minKeys: 1 })), entries => {
        const lines = Object.entries(entries).map(([key, fields]) =>
          [
            `${quote(key)}:`,
            ...Object.entries(fields).map(
              ([name, value]) => `  ${quote(name)} ${quote(value)}`,
            ),
            '',
          ].join('\n'),
        )
        const text = `# yarn lockfile v1\n\n\n${lines.join('\n')}`
        same(plainOf(parseYarnText(openSource(text, 'x'))), plainOfValue(entries))
      }),
    )
    t.ok(compared >= 20, `${compared} compared`)
    t.end()
  })
  t.end()
})

t.test('a complaint repeats no password and no escape sequence', t => {
  const key = '"//user:secret@host\\u001b[31m\\u202e":1'
  const text = npm(`${key},${key}`)
  try {
    readLockfile(text, { file: 'x' })
    t.fail('no complaint')
  } catch (error) {
    t.notMatch(messageOf(error), /secret/)
    // eslint-disable-next-line no-control-regex
    t.notMatch(messageOf(error), /[\u0000-\u001f\u202e]/)
  }
  t.end()
})
