/** What a policy diff found, for people and for programs. */
import { counted, plain, wrap, type Paint, type Style } from '../audit/paint.ts'
import { changeKinds, type Change, type ChangeKind } from './changes.ts'
import type { Comparison } from './compare.ts'

export type Side = { readonly policies: readonly string[]; readonly digest: string }

export type Diff = Comparison & {
  readonly old: Side
  readonly new: Side
  readonly source:
    | { readonly kind: 'lockfile'; readonly file: string }
    | { readonly kind: 'record'; readonly since: string }
}

export const countsOf = ({ changes, unknown, judged }: Comparison) => {
  const count = (kind: ChangeKind) => changes.filter(change => change.kind === kind).length
  return {
    refused: count('refused'),
    admitted: count('admitted'),
    unchecked: count('unchecked'),
    reasons: count('reasons'),
    unknown: unknown.length,
    same: judged - changes.length - unknown.length,
  }
}

/** 1 when anything is newly refused; else 2 when something could not be told; else 0. */
export const exitCode = (diff: Comparison): 0 | 1 | 2 => {
  const { refused, unchecked, unknown } = countsOf(diff)
  return refused > 0 ? 1 : unchecked + unknown > 0 ? 2 : 0
}

export const diffJson = (diff: Diff): string => {
  const { old, source, judged, changes, unknown } = diff
  const document = {
    old,
    new: diff.new,
    source,
    judged,
    counts: countsOf(diff),
    changes,
    unknown,
  }
  return `${JSON.stringify(document, undefined, 2)}\n`
}

export type TextOptions = {
  readonly columns: number
  readonly paint: Paint
  /** Rows shown of each kind. */
  readonly most: number
}

const titles: Readonly<Record<ChangeKind, readonly [title: string, style: Style]>> = {
  refused: ['Newly refused', 'red'],
  unchecked: ['Could not be checked any more', 'magenta'],
  admitted: ['Newly admitted', 'green'],
  reasons: ['Decided as before, for other reasons', 'bold'],
}

const idOf = ({ name, version }: Change['package']) => plain(`${name}@${version}`)

const reasonLines = (change: Change): readonly string[] => {
  const { kind, old, new: next } = change
  const said = ({ reasons }: Change['old'], was: string) =>
    reasons.map(({ code, message }) => plain(`${was}${code}: ${message}`))
  if (kind === 'admitted') return said(old, 'was ')
  const codes = [...new Set(old.reasons.map(({ code }) => code))].join(', ')
  const before = kind === 'reasons' ? [`was ${codes === '' ? 'without reasons' : codes}`] : []
  return [...said(next, ''), ...before]
}

const rowText = (change: Change, width: number, { columns, paint }: TextOptions): string => {
  const arrow = `${change.old.decision} -> ${change.new.decision}`
  const id = idOf(change.package)
  const head = `  ${paint('bold', id.padEnd(width))}  ${arrow}`
  const rule = plain(`by ${(change.kind === 'admitted' ? change.old : change.new).rule}`)
  const used = 2 + width + 2 + arrow.length
  const beside = used + 2 + rule.length <= columns
  const lines = [...(beside ? [] : [rule]), ...reasonLines(change)].flatMap(line =>
    wrap(line, columns - 6).map(part => `      ${part}\n`),
  )
  return `${head}${beside ? `  ${paint('dim', rule)}` : ''}\n${lines.join('')}`
}

const section = (
  kind: ChangeKind,
  changes: readonly Change[],
  options: TextOptions,
): string => {
  if (changes.length === 0) return ''
  const { paint, columns, most } = options
  const [title, style] = titles[kind]
  const shown = changes.slice(0, most)
  const longest = Math.max(...shown.map(change => idOf(change.package).length))
  const width = Math.min(longest, Math.floor(columns / 2))
  const rest = changes.length - shown.length
  return [
    `${paint(style === 'bold' ? style : [style, 'bold'], title)} ${changes.length}\n\n`,
    ...shown.map(change => rowText(change, width, options)),
    rest > 0 ? `  ${paint('dim', `... and ${rest} more; --all shows them`)}\n` : '',
    '\n',
  ].join('')
}

const unknownSection = ({ unknown }: Comparison, options: TextOptions): string => {
  if (unknown.length === 0) return ''
  const { paint, columns, most } = options
  const rest = Math.max(0, unknown.length - most)
  return [
    `${paint(['magenta', 'bold'], 'Could not be judged')} ${unknown.length}\n\n`,
    ...unknown.slice(0, most).map(({ package: id, under, code, message }) => {
      const lines = wrap(plain(`${code}: ${message}`), columns - 6)
      const head = `  ${paint('bold', idOf(id))}  under the ${under} policy\n`
      return head + lines.map(line => `      ${line}\n`).join('')
    }),
    rest > 0 ? `  ${paint('dim', `... and ${rest} more; --all shows them`)}\n` : '',
    '\n',
  ].join('')
}

export const diffText = (diff: Diff, options: TextOptions): string => {
  const { paint, columns } = options
  const counts = countsOf(diff)
  const order = changeKinds.toSorted(
    (a, b) => Object.keys(titles).indexOf(a) - Object.keys(titles).indexOf(b),
  )
  const of = (kind: ChangeKind) => diff.changes.filter(change => change.kind === kind)
  const where =
    diff.source.kind === 'lockfile'
      ? `of ${plain(diff.source.file)}`
      : `asked for since ${diff.source.since.slice(0, 10)}`
  const n = (count: number, style: Style, text: string) =>
    count > 0 ? paint([style, 'bold'], `${count} ${text}`) : `${count} ${text}`
  const summary = [
    n(counts.refused, 'red', 'newly refused'),
    n(counts.admitted, 'green', 'newly admitted'),
    ...(counts.unchecked > 0 ? [n(counts.unchecked, 'magenta', 'not checked any more')] : []),
    ...(counts.unknown > 0 ? [n(counts.unknown, 'magenta', 'not judged')] : []),
    ...(counts.reasons > 0 ? [`${counts.reasons} for other reasons`] : []),
    `${counts.same} as before`,
  ].join(', ')
  const what = `${counted(diff.judged, 'package version')} ${where}`
  const last = wrap(`${what}: ${summary}`, columns).join('\n')
  return `${order.map(kind => section(kind, of(kind), options)).join('')}${unknownSection(diff, options)}${last}\n`
}
