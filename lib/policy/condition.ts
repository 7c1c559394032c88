/** `where`: a condition in CEL over what is known of a version. */
import parse from 'semver/functions/parse.js'
import type { JudgeInput, Reason } from '../types.ts'
import { clockFor } from './age.ts'
import { readCondition, type Program } from './condition-language.ts'
import { instant } from './duration.ts'
import { identityFields, type Condition } from './policy.ts'
import { plain, reason, unavailableReason } from './reason.ts'
import type { Check } from './requirement.ts'
import { endsOf, vouchersIn } from './vouch.ts'

const HOUR = 3_600_000

const programs = new WeakMap<Condition, Program>()

/** Read once for each policy. */
const programOf = (condition: Condition): Program => {
  const remembered = programs.get(condition)
  if (remembered) return remembered
  const program = readCondition(condition.text)
  if ('message' in program) throw new Error(program.message)
  programs.set(condition, program)
  return program
}

type View = Record<string, unknown>

type Seen = {
  readonly view: View
  /** Names of the language that could not be looked up; they are not in the view. */
  readonly missing: ReadonlySet<string>
  /** When the whole hours of the age are one more. */
  readonly olderAt?: number
}

/** Whole hours: between two of them no verdict changes by time alone. */
const hourOf = (at: number) => Math.floor(at / HOUR) * HOUR

const viewOf = (input: JudgeInput, now: Date): Seen => {
  const { package: id, evidence, claims, upstream } = input
  const missing = new Set<string>()
  const since = instant(clockFor(input)?.time)
  const hours = since === undefined ? undefined : Math.floor((now.getTime() - since) / HOUR)
  if (hours === undefined) missing.add('pkg.ageHours')
  const view: View = {
    pkg: {
      name: id.name,
      scope: id.name.startsWith('@') ? (id.name.split('/')[0] ?? '') : '',
      version: id.version,
      prerelease: (parse(id.version, { loose: true })?.prerelease.length ?? 0) > 0,
      deprecated: claims.deprecated !== undefined,
      ...(hours !== undefined && { ageHours: BigInt(hours) }),
    },
    upstream,
    now: new Date(hourOf(now.getTime())),
  }
  for (const fact of ['registrySignature', 'publishAttestation', 'provenance'] as const) {
    const { state } = evidence[fact]
    if (state === 'unavailable') missing.add(fact)
    else view[fact] = state
  }
  const { vouches = [], provenance } = evidence
  if (vouches.some(({ state }) => state === 'unavailable')) missing.add('vouchedBy')
  else view['vouchedBy'] = vouchersIn(vouches, now)
  if (provenance.state === 'unavailable')
    for (const field of identityFields) missing.add(`identity.${field}`)
  else {
    const { identity = {} } = provenance.state === 'verified' ? provenance : {}
    view['identity'] = Object.fromEntries(
      Object.entries(identity).filter(([key]) =>
        (identityFields as readonly string[]).includes(key),
      ),
    )
  }
  return {
    view,
    missing,
    ...(since !== undefined && hours !== undefined && { olderAt: since + (hours + 1) * HOUR }),
  }
}

/** The values that the expression speaks of, for people. */
const valuesOf = ({ names }: Program, view: View): string =>
  [...names]
    .flatMap(name => {
      const [root = '', field] = name.split('.')
      const value = field === undefined ? view[root] : (view[root] as View | undefined)?.[field]
      if (value === undefined) return []
      const shown =
        value instanceof Date
          ? value.toISOString()
          : typeof value === 'bigint'
            ? String(value)
            : JSON.stringify(value)
      return [`${name} = ${shown}`]
    })
    .join(', ')

const errorWords = (error: unknown): string => {
  const { summary, message } = error as { readonly summary?: string; readonly message?: string }
  const said = summary ?? message ?? String(error)
  const field = /^No such key: (\w+)$/.exec(said)?.[1]
  return field === undefined
    ? said
    : `the certificate says nothing about ${field}, or there is none`
}

type Result = { readonly holds: boolean } | { readonly error: string }

const evaluate = (program: Program, view: View): Result => {
  try {
    return { holds: program.run(view) === true }
  } catch (error) {
    return { error: errorWords(error) }
  }
}

/** What asks to be judged again, and when. */
export type ConditionFinding = { readonly check: Check; readonly changes: readonly number[] }

/**
 * The condition held against what is known. Facts that could not be looked up are not there: where
 * the rest decides, as in `a || b` with `a` true, they are not needed, and otherwise it could not
 * be checked. Any other error in evaluating refuses.
 */
export const conditionFinding = (
  condition: Condition,
  input: JudgeInput,
  now: Date,
): ConditionFinding => {
  const program = programOf(condition)
  const { view, missing, olderAt } = viewOf(input, now)
  const result = evaluate(program, view)
  const values = valuesOf(program, view)
  const wanted = plain(condition.text)
  const finding = (found: string, reasons: readonly Reason[]): ConditionFinding => ({
    check: { what: 'where', wanted, found: plain(found), reasons },
    changes: [
      ...(program.names.has('now') ? [hourOf(now.getTime()) + HOUR] : []),
      ...(program.names.has('vouchedBy') ? endsOf(input.evidence.vouches, now) : []),
      ...(program.names.has('pkg.ageHours') && olderAt !== undefined ? [olderAt] : []),
    ],
  })
  const details = { field: 'where', wanted }
  if ('holds' in result) {
    if (result.holds) return finding(values === '' ? 'true' : `true: ${values}`, [])
    const found = values === '' ? 'false' : `false: ${values}`
    const message = `the condition ${condition.text} does not hold`
    return finding(found, [
      reason('CONDITION_FALSE', message, { ...details, found: plain(found) }),
    ])
  }
  const needed = [...program.names].filter(name => missing.has(name))
  if (needed.length > 0) {
    const detail = `it needs ${needed.join(', ')}`
    return finding(`not known: ${needed.join(', ')}`, [
      unavailableReason('the condition', detail),
    ])
  }
  const message = `the condition could not be evaluated: ${result.error}`
  return finding(`error: ${result.error}`, [reason('CONDITION_FALSE', message, details)])
}
