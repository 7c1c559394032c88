/** Identities and rules as the lines of a policy, in the form a person would write. */
import { identityFields } from '../policy/policy.ts'
import type { PinnedFields } from '../policy/pin.ts'
import type { RuleDraft } from './drafts.ts'

/** What marks a part as learned; whoever takes it away makes the part their own. */
export const MARK = '# learned'

/** Characters to a line where a list is broken. */
export const WIDTH = 96

/** `plain`: a line for each key. `dense`: as few lines as can be read, where there are many. */
export type Style = 'plain' | 'dense'

const words = new Set([
  'true',
  'false',
  'null',
  'yes',
  'no',
  'y',
  'n',
  'on',
  'off',
  '.inf',
  '.nan',
])

/** As YAML: as it stands where it cannot be read as anything else, in quotes where it could. */
export const scalar = (text: string, flow = true): string => {
  const form = flow
    ? /^\.?[A-Za-z](?:[A-Za-z0-9_./@+*~()-]|:(?! )|\b \b)*$/
    : /^\.?[A-Za-z](?:[A-Za-z0-9_./@+*~(){}-]|:(?! )|,? (?=[A-Za-z0-9@]))*$/
  const safe = form.test(text) && !text.endsWith(':') && !words.has(text.toLowerCase())
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufeff\ud800-\udfff]/.test(text))
    return JSON.stringify(text)
  return safe ? text : `'${text.replaceAll("'", "''")}'`
}

/** `key: [a, b]`, broken where it would be too long; later lines are indented by two more. */
const filled = (
  head: string,
  open: string,
  items: readonly string[],
  close: string,
  indent: string,
) => {
  const lines: string[] = []
  let line = `${indent}${head}${open}`
  items.forEach((item, i) => {
    const end = i === items.length - 1 ? close : ','
    const gap = i === 0 && (open === '[' || open === '') ? '' : ' '
    if (i > 0 && line.length + gap.length + item.length + end.length > WIDTH) {
      lines.push(line)
      line = `${indent}  ${item}${end}`
    } else line += `${gap}${item}${end}`
  })
  return [...lines, line]
}

const entriesOf = (fields: PinnedFields) =>
  identityFields.flatMap(field => {
    const value = fields[field]
    return value === undefined ? [] : [[field, value] as const]
  })

export const identityLines = (
  name: string,
  fields: PinnedFields,
  style: Style,
  indent: string,
): readonly string[] => {
  const entries = entriesOf(fields)
  const head = `${indent}${name}: ${MARK}`
  if (style === 'plain')
    return [
      head,
      ...entries.map(([key, value]) => `${indent}  ${key}: ${scalar(value, false)}`),
    ]
  const items = entries.map(([key, value]) => `${key}: ${scalar(value)}`)
  return filled(`${name}: `, '{', items, ` } ${MARK}`, indent)
}

const requireWords = ({ kind, signed, pins }: RuleDraft, names: readonly string[]): string => {
  const provenance =
    pins.length > 0
      ? [`provenance: ${names.length === 1 ? names[0] : `[${names.join(', ')}]`}`]
      : kind === 'older' || kind === 'bare'
        ? ['provenance: if-present']
        : []
  const signature = signed
    ? ['registrySignature: required']
    : kind === 'unsigned'
      ? ['registrySignature: if-present']
      : []
  return [...provenance, ...signature].join(', ')
}

/** `indent` is where the dash stands. */
export const ruleLines = (
  draft: RuleDraft,
  name: string,
  identities: readonly string[],
  indent: string,
): readonly string[] => {
  const inner = `${indent}  `
  const list = filled(
    'packages: ',
    '[',
    draft.packages.map(p => scalar(p)),
    ']',
    inner,
  )
  const note = draft.note === undefined ? '' : ` # ${draft.note}`
  return [
    `${indent}- name: ${scalar(name, false)} ${MARK}`,
    ...list.slice(0, -1),
    `${list.at(-1)}${note}`,
    ...(draft.versions === undefined ? [] : [`${inner}versions: ${scalar(draft.versions)}`]),
    ...filled(
      'require: ',
      '{',
      requireWords(draft, identities).split(/, (?![^[]*\])/),
      ' }',
      inner,
    ),
  ]
}
