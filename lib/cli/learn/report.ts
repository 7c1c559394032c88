/** What a run of learn tells: a summary for people, and everything for programs. */
import { isBuilt, type Observation } from '../../learn/observation.ts'
import type { Lesson } from '../../learn/learn.ts'
import { counted, plain, wrap, type Paint } from '../audit/paint.ts'
import { byReason, idOf } from '../audit/result.ts'
import type { Left, Sifted } from './sift.ts'
import type { Origin } from './subjects.ts'

export type Outcome = {
  readonly origin: Origin
  readonly sifted: Sifted
  readonly lesson: Lesson
  /** The policy file as people know it. */
  readonly file: string
  /** Whether it was there, and whether it was written. */
  readonly isThere: boolean
  readonly written: boolean
  readonly elsewhere: number
  /** Empty where the policy is new or nothing changes. */
  readonly diff: string
  readonly afresh: boolean
}

/** Rows of what could not be learned. */
const ROWS = 20

export const exitCode = ({ sifted: { refused, unknown }, lesson }: Outcome): 0 | 1 | 2 =>
  refused.length > 0 ? 1 : unknown.length + lesson.unwritable.length > 0 ? 2 : 0

const kindsOf = (observations: readonly Observation[]) => {
  const built = observations.filter(isBuilt).length
  const signed = observations.filter(
    o => !isBuilt(o) && o.states.registrySignature === 'verified',
  ).length
  return { built, signed, unsigned: observations.length - built - signed }
}

const countsOf = ({ sifted, lesson, elsewhere }: Outcome) => {
  const { refused, unknown, waived, observations } = sifted
  const own = new Set(lesson.own)
  return {
    seen: observations.length + refused.length + unknown.length + waived.length,
    ...kindsOf(observations.filter(o => !own.has(o))),
    already: lesson.already.length,
    own: own.size + waived.length,
    refused: refused.length,
    unknown: unknown.length,
    unwritable: lesson.unwritable.length,
    elsewhere,
  }
}

const listed = (title: string, left: readonly Left[], columns: number, paint: Paint) => {
  const rows = left.slice(0, ROWS).flatMap(({ name, version, reasons }) => {
    const [first] = reasons
    const why = first ? `${first.code}: ${first.message}` : ''
    const [head = '', ...more] = wrap(plain(why), columns - 6)
    return [
      `  ${paint('bold', plain(idOf({ name, version })))}`,
      `    ${head}`,
      ...more.map(line => `    ${line}`),
    ]
  })
  const rest = left.length - ROWS
  return [
    '',
    title,
    ...rows,
    ...(rest > 0 ? [`  and ${rest} more; --json tells them all`] : []),
  ]
}

const nextStep = (outcome: Outcome): string => {
  const { lesson, sifted, written, isThere, file, diff, afresh } = outcome
  const { identities, rules } = lesson
  if (written)
    return `Wrote ${file}. Read it, then serve with it: attestry serve --policy ${file}`
  if (!isThere) {
    return identities.length + rules.length === 0
      ? 'There was nothing to learn.'
      : `Nothing was written. Read the policy, then run this again with --write to make ${file}.`
  }
  if (diff !== '')
    return `Nothing was written. Read the difference, then run this again with --write to change ${file}.`
  return sifted.refused.length > 0 && !afresh
    ? `There is nothing to add to ${file}. Where what was refused is right, see with --afresh what would be learned now.`
    : `${file} says all of it already.`
}

const row = (count: number, text: string) => [[count, text] as const].filter(([n]) => n > 0)

const sourceWords = (origin: Origin): string =>
  origin.kind === 'lockfile'
    ? `in ${origin.file}`
    : `admitted since ${origin.since.slice(0, 10)} by the audit record`

export const summaryText = (
  outcome: Outcome,
  { columns, paint }: { readonly columns: number; readonly paint: Paint },
): string => {
  const { lesson, sifted, origin } = outcome
  const counts = countsOf(outcome)
  const rows = [
    ...row(counts.built, 'built by a publisher that their provenance proves'),
    ...row(counts.signed, 'signed by the registry alone: nobody says who built them'),
    ...row(counts.unsigned, 'signed by nobody'),
    ...row(counts.own, 'left to rules of your own'),
    ...row(counts.refused, 'refused, and not learned'),
    ...row(counts.unknown, 'could not be checked, and not learned'),
    ...row(counts.unwritable, 'cannot be written in a policy'),
  ]
  const width = Math.max(0, ...rows.map(([n]) => String(n).length))
  const added = lesson.joined.reduce((sum, { packages }) => sum + packages.length, 0)
  const made = [
    counted(lesson.identities.length, 'identity', 'identities'),
    counted(lesson.rules.length, 'rule'),
    ...(added > 0 ? [`${counted(added, 'package')} added to rules that were there`] : []),
  ]
  const lines = [
    `${counted(counts.seen, 'package version')} ${sourceWords(origin)}`,
    ...rows.map(([n, text]) => `  ${String(n).padStart(width)} ${text}`),
    ...(counts.already > 0 ? [`  (${counts.already} of them as learned before)`] : []),
    ...(counts.elsewhere > 0
      ? [
          `${counted(counts.elsewhere, 'entry', 'entries')} from git, files or links: not looked at`,
        ]
      : []),
    '',
    `${outcome.afresh ? 'Afresh: ' : outcome.isThere ? 'New: ' : ''}${made.join(', ')}.`,
    ...byReason(
      sifted.refused.map(left => ({
        ...left,
        lines: [],
        dev: false,
        optional: false,
        outcome: 'refused',
        pinned: false,
        milliseconds: 0,
      })),
    ).flatMap(([code, left]) =>
      listed(paint('red', `Refused, ${code}:`), left, columns, paint),
    ),
    ...(sifted.unknown.length > 0
      ? listed(paint('magenta', 'Could not be checked:'), sifted.unknown, columns, paint)
      : []),
    ...(lesson.unwritable.length > 0
      ? listed(
          'No policy can name:',
          lesson.unwritable.map(o => ({ ...o, reasons: [] })),
          columns,
          paint,
        )
      : []),
    '',
    ...wrap(nextStep(outcome), columns),
  ]
  return `${lines.join('\n')}\n`
}

/** The shape of `--json`. */
export const jsonReport = (outcome: Outcome): string => {
  const { lesson, sifted, origin, file, written, isThere, diff } = outcome
  const own = new Set(lesson.own)
  const already = new Set(lesson.already)
  const unwritable = new Set(lesson.unwritable)
  const placeOf = (o: Observation) =>
    own.has(o)
      ? 'own'
      : already.has(o)
        ? 'already'
        : unwritable.has(o)
          ? 'unwritable'
          : 'learned'
  return `${JSON.stringify(
    {
      source: origin,
      file,
      exists: isThere,
      written,
      exitCode: exitCode(outcome),
      counts: countsOf(outcome),
      observations: sifted.observations.map(o => ({
        name: o.name,
        version: o.version,
        states: o.states,
        place: placeOf(o),
        ...(o.identity && { identity: o.identity }),
      })),
      identities: lesson.identities.map(({ name, pin }) => ({ name, fields: pin.fields })),
      rules: lesson.rules.map(({ name, draft, identities }) => ({
        name,
        kind: draft.kind,
        packages: draft.packages,
        ...(draft.versions !== undefined && { versions: draft.versions }),
        identities,
        registrySignature: draft.signed ? 'required' : 'if-present',
      })),
      joined: lesson.joined,
      refused: sifted.refused,
      unknown: sifted.unknown,
      waived: sifted.waived,
      policy: lesson.text,
      diff,
    },
    undefined,
    2,
  )}\n`
}
