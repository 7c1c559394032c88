/** The explanation of a verdict as text for a terminal. Pure. */
import type { Why } from '../../gate/assessments.ts'
import type { Timeline } from '../../gate/timeline.ts'
import { counted, plain } from '../audit/paint.ts'
import { evidenceBranch, factName } from './evidence.ts'
import { bold, dim, markSpan } from './look.ts'
import { timelineBranch } from './timeline.ts'
import { branch, paragraph, renderTree, type Branch, type Look, type Span } from './tree.ts'

type Layer = Why['layers'][number]
type Check = Layer['alternatives'][number]['checks'][number]
type Identity = NonNullable<Check['identities']>[number]
type Reason = Why['reasons'][number]

/** Rules that did not match and are told one by one. */
const TRIED = 8
/** Identities compared field by field. */
const COMPARED = 4

const headline = ({ decision, reasons }: Why): Span => {
  if (decision === 'refuse') return { text: 'refused by policy', style: 'red' }
  if (decision === 'unavailable') return { text: 'could not be checked', style: 'magenta' }
  return reasons.length > 0
    ? { text: 'allowed, because the policy only observes', style: 'magenta' }
    : { text: 'allowed', style: 'bold' }
}

const wantedAndFound = (wanted: string | undefined, found: string | undefined) => [
  ...(wanted === undefined ? [] : [branch([dim('wanted:'), wanted])]),
  ...(found === undefined ? [] : [branch([dim('found:'), found])]),
]

const reasonBranch = ({ code, message, field, wanted, found, npmCode }: Reason): Branch =>
  branch(
    [
      { text: `${code}:`, style: 'red' },
      message,
      ...(npmCode === undefined ? [] : [dim(`(npm: ${npmCode})`)]),
    ],
    // most messages say both already
    [wanted, found].every(side => side === undefined || message.includes(side))
      ? []
      : [
          ...(field === undefined ? [] : [branch([dim('field:'), field])]),
          ...wantedAndFound(wanted, found),
        ],
  )

const at = (line: number | undefined) => (line === undefined ? [] : [dim(`line ${line}`)])

const triedBranch = (layer: Layer): Branch => {
  const { tried, governing, waiver } = layer
  const others = tried.slice(0, -1)
  const more = others.length - TRIED
  const outcome = { allow: 'it is a waiver', deny: 'it denies', require: 'it makes demands' }
  return branch(bold('Rules tried'), [
    ...(more > 0 ? [branch(dim(`${counted(more, 'rule')} that did not match`))] : []),
    ...others
      .slice(-TRIED)
      .map(({ rule, line, why }) => branch([`${rule}:`, dim(why), ...at(line)])),
    ...tried
      .slice(-1)
      .map(({ rule, line, why }) =>
        branch(
          [bold(`${rule}:`), why, ...at(line)],
          [
            branch([dim('it governs;'), outcome[governing.outcome]]),
            ...(waiver
              ? [
                  branch([
                    dim('waived:'),
                    waiver.reason,
                    ...(waiver.by === undefined ? [] : [dim('by'), waiver.by]),
                    ...(waiver.until === undefined ? [] : [dim('until'), waiver.until]),
                  ]),
                ]
              : []),
          ],
        ),
      ),
  ])
}

const identityBranch = (identity: Identity, lead: string, look: Look): Branch => {
  const { name, line, fields, matched } = identity
  return branch(
    [
      markSpan(matched ? 'good' : 'bad', look),
      ...(lead === '' ? [] : [bold(lead)]),
      name ?? 'an identity written in the rule',
      ...at(line),
    ],
    fields.map(({ field, wanted, found, ok }) =>
      branch(
        [markSpan(ok ? 'good' : 'bad', look), `${field}:`, ...(ok ? [dim(found ?? '')] : [])],
        ok ? [] : wantedAndFound(wanted, found ?? 'nothing'),
      ),
    ),
  )
}

const isSame = (a: Identity, b: Identity | undefined) =>
  b !== undefined && a.name === b.name && a.line === b.line

const checkBranch = (check: Check, layer: Layer, look: Look): Branch => {
  const { what, wanted, found, ok, identities = [] } = check
  const shown = identities.toSorted(
    (a, b) => Number(isSame(b, layer.nearestMiss)) - Number(isSame(a, layer.nearestMiss)),
  )
  const told = ok ? shown.filter(({ matched }) => matched) : shown.slice(0, COMPARED)
  const more = ok ? 0 : shown.length - told.length
  return branch(
    [
      markSpan(ok ? 'good' : 'bad', look),
      `${factName(what)}:`,
      dim('wanted'),
      `${wanted};`,
      dim('found'),
      found,
    ],
    [
      ...told.map(identity => {
        const nearest = !ok && isSame(identity, layer.nearestMiss)
        return identityBranch(identity, nearest ? 'nearest miss:' : '', look)
      }),
      ...(more > 0 ? [branch(dim(`${more} more that do not match`))] : []),
    ],
  )
}

const checkBranches = (layer: Layer, look: Look): readonly Branch[] => {
  const { alternatives, age } = layer
  const aged = age ? [checkBranch(age, layer, look)] : []
  if (alternatives.length <= 1) {
    const checks = alternatives.flatMap(({ checks }) => checks)
    const all = [...checks.map(check => checkBranch(check, layer, look)), ...aged]
    return all.length > 0 ? [branch(bold('Wanted and found'), all)] : []
  }
  const each = alternatives.map(({ counts, ok, checks }, i) =>
    branch(
      [
        markSpan(ok ? 'good' : 'bad', look),
        `alternative ${i + 1}`,
        ...(counts ? [dim(ok ? 'holds' : 'comes nearest')] : []),
      ],
      checks.map(check => checkBranch(check, layer, look)),
    ),
  )
  return [branch(bold('Wanted and found: one of'), [...each, ...aged])]
}

const layerBranch = (layer: Layer, look: Look): Branch =>
  branch(
    [bold(`Policy ${layer.policy}`), dim(`(${layer.mode})`)],
    [triedBranch(layer), ...checkBranches(layer, look)],
  )

/** To be copied as it is: no wrapping, no branches in front. */
const copied = (lines: string) => lines.split('\n').map(plain).join('\n')

const placeText = (addTo: readonly string[], look: Look) =>
  paragraph(`Under rules: of ${addTo.join(', ')}, before the others:`, look)

const vouchText = ({ vouch, addTo }: Why, look: Look): string => {
  if (vouch === undefined) return ''
  const { advice, lines, command } = vouch
  const rules = lines === '' ? '' : `${placeText(addTo, look)}\n${copied(lines)}`
  const lead = `\n${paragraph(bold('Or: somebody vouches for it'), look)}`
  return `${lead}${paragraph(advice, look)}${rules}\n  ${plain(command)}\n`
}

const suggestionText = (why: Why, look: Look): string => {
  const { decision, reasons, lines, addTo, advice } = why
  if (decision === 'allow' && reasons.length === 0) return ''
  const lead = `\n${paragraph(bold('What would admit it'), look)}${paragraph(advice, look)}`
  const rules = lines === '' ? '' : `${placeText(addTo, look)}\n${copied(lines)}`
  return `${lead}${rules}${vouchText(why, look)}`
}

const CLOCKS = {
  log: 'when it was signed',
  'first-seen': 'when it was first seen here',
  packument: "by the packument's unsigned time",
} as const

/** What time alone will change, and since when the version has been public. */
const clockBranches = ({ clock, changesAt }: Why): readonly Branch[] => [
  ...(clock ? [branch([dim('public since'), clock.time, dim(CLOCKS[clock.source])])] : []),
  ...(changesAt === undefined ? [] : [branch([dim('changes by itself at'), changesAt])]),
]

/** Reasons and policies. */
export const policyBranches = (
  { reasons, layers }: Pick<Why, 'reasons' | 'layers'>,
  look: Look,
): readonly Branch[] => [
  ...(reasons.length > 0 ? [branch(bold('Reasons'), reasons.map(reasonBranch))] : []),
  ...layers.map(layer => layerBranch(layer, look)),
]

/** `timeline`: none where a server did not give one. */
export const whyText = (why: Why, timeline: Timeline | undefined, look: Look): string => {
  const { name, version } = why.package
  const root = branch(
    [bold(`${name}@${version}`), headline(why), dim(`from upstream ${why.upstream}`)],
    [
      ...why.notes.map(note => branch({ text: note, style: 'magenta' })),
      ...policyBranches(why, look),
      evidenceBranch(why.evidence, look),
      ...(timeline ? [timelineBranch(timeline, version, look)] : []),
      ...clockBranches(why),
    ],
  )
  return `${renderTree(root, look)}${suggestionText(why, look)}`
}
