/** The policies and the schema that are shipped. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseDocument } from 'yaml'
import { baselinePolicy } from '../../lib/policy/baseline.ts'
import { misses, readCases } from '../../lib/policy/cases.ts'
import { policyDigest } from '../../lib/policy/digest.ts'
import { judge } from '../../lib/policy/evaluate.ts'
import { casesJsonSchema, policyJsonSchema } from '../../lib/policy/json-schema.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import { identityFields } from '../../lib/policy/policy.ts'
import type { Policy } from '../../lib/policy/policy.ts'

const shipped = (file: string) =>
  readFileSync(new URL(`../../config/${file}`, import.meta.url), 'utf8')
const read = (name: string): Policy =>
  parsePolicy(shipped(`${name}.policy.yaml`), { file: `${name}.policy.yaml`, name })

t.test('the baseline file says what is built in', async t => {
  const file = read('baseline')
  const { line: _, ...defaults } = file.defaults
  t.same({ ...file, defaults, file: undefined }, { ...baselinePolicy, file: undefined })
  t.equal(policyDigest([file]), policyDigest([baselinePolicy]))
  t.equal(policyDigest([]), policyDigest([baselinePolicy]))
})

t.test('strict', async t => {
  t.match(read('strict').defaults, {
    mode: 'enforce',
    outcome: { anyOf: [{ registrySignature: 'required' }] },
    continuity: { level: 'package', settledAfter: 'never' },
    minimumAge: 3 * 86_400_000,
  })
})

/** Every key that occurs in a document, at any depth. */
const keysOf = (value: unknown): string[] =>
  Array.isArray(value)
    ? value.flatMap(keysOf)
    : value !== null && typeof value === 'object'
      ? Object.entries(value).flatMap(([key, inner]) => [key, ...keysOf(inner)])
      : []

/** Every property name that the schema knows, but for what this version cannot judge. */
const properties = (schema: unknown): string[] => {
  if (Array.isArray(schema)) return schema.flatMap(properties)
  if (schema === null || typeof schema !== 'object') return []
  return Object.entries(schema).flatMap(([key, inner]) => {
    if (key !== 'properties') return properties(inner)
    return Object.entries(inner as Record<string, { description?: string }>).flatMap(
      ([name, one]) =>
        one.description?.includes('Not judged by this version')
          ? []
          : [name, ...properties(one)],
    )
  })
}

t.test('the example uses every key that can be judged', async t => {
  const example = read('example')
  t.ok(example.rules.length > 5)
  const used = new Set(keysOf(parseDocument(shipped('example.policy.yaml')).toJS()))
  const wanted = [...new Set(properties(policyJsonSchema()))]
  t.ok(wanted.length > 30)
  t.same(
    wanted.filter(key => !used.has(key)),
    [],
  )
  t.same(
    identityFields.filter(field => !used.has(field)),
    [],
  )
})

t.test('the example of cases uses every decision, and all hold', async t => {
  const text = shipped('example.policy.test.yaml')
  const { cases } = readCases(text, { file: 'example.policy.test.yaml', now: new Date() })
  t.ok(cases.length > 10)
  for (const { name, input, expect, now } of cases) {
    if (!input) throw new Error(`${name} is not given`)
    t.same(misses(expect, judge([read('example')], input, now)), [], name)
  }
})

t.test('the language is described key by key', async t => {
  const text = readFileSync(new URL('../../docs/policy.md', import.meta.url), 'utf8')
  const keys = [...new Set(properties(policyJsonSchema()))]
  t.same(
    keys.filter(key => !text.includes(`\`${key}\``)),
    [],
  )
})

t.test('the JSON schemas are those made from the code', async t => {
  t.same(JSON.parse(shipped('policy-test.schema.json')), casesJsonSchema())
  t.same(JSON.parse(shipped('policy.schema.json')), policyJsonSchema())
})
