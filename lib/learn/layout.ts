/** Identities and rules as the lines of a policy, in the form a person would write. */
import { identityFields } from '../policy/policy.ts'
import type { PinnedFields } from '../policy/pin.ts'
import { presetOf } from '../policy/preset.ts'
import type { IdentityDocument } from '../policy/schema.ts'
import { shortened } from '../policy/shorten.ts'
import type { RuleDraft } from './drafts.ts'

/** What marks a part as learned; whoever takes it away makes the part their own. */
export const MARK = '# learned'

/** `plain`: a rule for each publisher. `dense` and `packed`: one for many, in longer lines. */
export type Style = 'plain' | 'dense' | 'packed'

/** Characters to a line. */
export const widths: Readonly<Record<Style, number>> = { plain: 80, dense: 132, packed: 150 }

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
    ? /^\.?[A-Za-z](?:[A-Za-z0-9_./@#+*~()-]|:(?! )|\b \b)*$/
    : /^\.?[A-Za-z](?:[A-Za-z0-9_./@#+*~(){}-]|:(?! )|,? (?=[A-Za-z0-9@]))*$/
  const safe = form.test(text) && !text.endsWith(':') && !words.has(text.toLowerCase())
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufeff\ud800-\udfff]/.test(text))
    return JSON.stringify(text)
  return safe ? text : `'${text.replaceAll("'", "''")}'`
}

/** What stands in brackets behind a head, broken where it would be too long. */
export const filled = (
  { head, open, close, indent }: Readonly<Record<'head' | 'open' | 'close' | 'indent', string>>,
  items: readonly string[],
  style: Style | number,
): readonly string[] => {
  const width = typeof style === 'number' ? style : widths[style]
  const lines: string[] = []
  let line = `${indent}${head}${open}`
  items.forEach((item, i) => {
    const end = i === items.length - 1 ? close : ','
    const gap = i === 0 && open === '[' ? '' : ' '
    if (i > 0 && line.length + gap.length + item.length + end.length > width) {
      lines.push(line)
      line = `${indent}  ${item}${end}`
    } else line += `${gap}${item}${end}`
  })
  return [...lines, line]
}

const rawEntries = (fields: PinnedFields) =>
  identityFields.flatMap(field => {
    const value = fields[field]
    return value === undefined ? [] : [[field, value] as const]
  })

const written = (value: unknown): string =>
  Array.isArray(value)
    ? `[${value.map(one => scalar(String(one))).join(', ')}]`
    : typeof value === 'object' && value !== null
      ? `{ ${Object.entries(value)
          .map(([key, inner]) => `${key}: ${scalar(String(inner))}`)
          .join(', ')} }`
      : scalar(String(value))

/** `key: value` of each, but for those said elsewhere. */
export const documentItems = (
  document: IdentityDocument,
  elsewhere: IdentityDocument = {},
): readonly string[] =>
  Object.entries(document)
    .filter(([key]) => elsewhere[key as 'trigger'] === undefined)
    .map(([key, value]) => `${key}: ${written(value)}`)

/** `key: value` of an identity, in the shortest way to write it. */
const identityItems = (fields: PinnedFields): readonly string[] => {
  const short = shortened(fields)
  return presetOf(short) === undefined
    ? rawEntries(fields).map(([key, value]) => `${key}: ${scalar(value)}`)
    : documentItems(short)
}

/** Presets may be so wide, in whatever style: they are read across. */
const PRESET = 100

export const identityLines = (
  name: string,
  fields: PinnedFields,
  style: Style,
  indent: string,
): readonly string[] => {
  const isPreset = presetOf(shortened(fields)) !== undefined
  if (style === 'plain' && !isPreset)
    return [
      `${indent}${name}: ${MARK}`,
      ...rawEntries(fields).map(([key, value]) => `${indent}  ${key}: ${scalar(value, false)}`),
    ]
  const close = ` } ${MARK}`
  const width = Math.max(PRESET, widths[style])
  return filled({ head: `${name}: `, open: '{', close, indent }, identityItems(fields), width)
}

const requireWords = (
  { kind, signed, pins }: RuleDraft,
  names: readonly string[],
): readonly string[] => {
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
  return [...provenance, ...signature]
}

/** More packages than this are a list by itself. */
const FEW = 5

/** `indent` is where the dash stands. */
export const ruleLines = (
  draft: RuleDraft,
  name: string,
  identities: readonly string[],
  style: Style,
  indent: string,
): readonly string[] => {
  const { packages, note, versions } = draft
  const names = packages.map(text => scalar(text))
  const wanted = requireWords(draft, identities)
  if (style !== 'plain' && packages.length <= FEW) {
    const items = [
      `name: ${scalar(name)}`,
      `packages: [${names.join(', ')}]`,
      ...(versions === undefined ? [] : [`versions: ${scalar(versions)}`]),
      `require: { ${wanted.join(', ')} }`,
    ]
    const close = ` } ${MARK}${note === undefined ? '' : `; ${note}`}`
    const [first = '', ...more] = filled({ head: '- ', open: '{', close, indent }, items, style)
    // what is in the braces stands below its first line
    return [first, ...more.map(line => `  ${line}`)]
  }
  const inner = `${indent}  `
  const list = filled(
    { head: 'packages: ', open: '[', close: ']', indent: inner },
    names,
    style,
  )
  return [
    `${indent}- name: ${scalar(name, false)} ${MARK}`,
    ...list.slice(0, -1),
    `${list.at(-1)}${note === undefined ? '' : ` # ${note}`}`,
    ...(versions === undefined ? [] : [`${inner}versions: ${scalar(versions)}`]),
    ...filled({ head: 'require: ', open: '{', close: ' }', indent: inner }, wanted, style),
  ]
}
