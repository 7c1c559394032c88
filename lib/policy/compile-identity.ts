/** An identity as written → the pattern that is compared. */
import type { Finding } from '../config/document.ts'
import { checkIdentity } from './identity-check.ts'
import { endWanted, parseEnd, parseStart } from './duration.ts'
import { issuerKind, sshRerun } from './issuers.ts'
import { readKey } from './key.ts'
import {
  identityFields,
  type IdentityPattern,
  type KeyPattern,
  type ReadKey,
} from './policy.ts'
import { expandPreset, presetOf, type Expanded } from './preset.ts'
import type { IdentityDocument } from './schema.ts'

/** What compiling a policy writes on: where things stand in the file, and what is wrong there. */
export type Desk = {
  readonly file: string
  readonly name: string
  readonly lineOf: (path: readonly PropertyKey[]) => number
  readonly complain: (finding: Finding) => void
  readonly readKey?: ReadKey
}

const compileKey = (
  { key = '', validFrom, validUntil }: IdentityDocument,
  at: readonly PropertyKey[],
  desk: Desk,
): KeyPattern => {
  const read = readKey(key, desk.readKey)
  if (read && 'complaint' in read)
    desk.complain({ path: [...at, 'key'], message: `key: ${read.complaint}` })
  const instant = (
    name: 'validFrom' | 'validUntil',
    said: string | undefined,
    parse: typeof parseEnd,
  ) => {
    if (said === undefined) return {}
    const time = parse(said)
    if (time !== undefined) return { [name]: time }
    const message = `${name}: ${endWanted}; found ${JSON.stringify(said)}`
    desk.complain({ path: [...at, name], message })
    return {}
  }
  return {
    text: key,
    ...(read && 'keyId' in read && { keyId: read.keyId }),
    ...instant('validFrom', validFrom, parseStart),
    ...instant('validUntil', validUntil, parseEnd),
  }
}

/** Field by field: as written, but for what nobody may mean. */
const expandFields = (identity: IdentityDocument, at: readonly PropertyKey[]): Expanded => {
  const { issuer, runner } = identity
  const helpers = (['server', 'enterprise', 'tag', 'branch'] as const).filter(
    key => identity[key] !== undefined,
  )
  return {
    said: Object.fromEntries(identityFields.map(field => [field, identity[field]])),
    ...(runner === undefined &&
      issuerKind(issuer ?? '') === 'circleci' && { noneOf: { runner: [sshRerun] } }),
    findings: helpers.map(key => ({
      path: [...at, key],
      message: `${key} stands beside a preset, as in github: owner/name${key === 'tag' || key === 'branch' ? '; write ref' : ''}`,
    })),
  }
}

/** Presets written out, and values in lists parted from those that stand alone. Pure. */
export const expandIdentity = (
  identity: IdentityDocument,
  at: readonly PropertyKey[] = [],
): Pick<IdentityPattern, 'fields' | 'oneOf' | 'noneOf'> & {
  readonly findings: readonly Finding[]
} => {
  const preset = presetOf(identity)
  const { said, noneOf, findings } =
    preset === undefined ? expandFields(identity, at) : expandPreset(preset, identity, at)
  const fields: Record<string, string> = {}
  const oneOf: Record<string, readonly string[]> = {}
  for (const field of identityFields) {
    const value = said[field]
    const [only, more] = typeof value === 'object' ? value : [value]
    if (typeof value === 'object' && more !== undefined) oneOf[field] = value
    else if (only !== undefined) fields[field] = only
  }
  return {
    fields,
    ...(Object.keys(oneOf).length > 0 && { oneOf }),
    ...(noneOf && { noneOf }),
    findings: findings.length > 0 ? findings : checked(identity, { fields, oneOf }, at),
  }
}

/** Complaints about what a preset stands for are placed at the preset. */
const checked = (
  identity: IdentityDocument,
  { fields, oneOf }: Required<Pick<IdentityPattern, 'fields' | 'oneOf'>>,
  at: readonly PropertyKey[],
): readonly Finding[] => {
  const whole = {
    ...fields,
    ...Object.fromEntries(Object.entries(oneOf).map(([f, [v]]) => [f, v])),
  }
  const each = Object.entries(oneOf).flatMap(([field, values]) =>
    values.slice(1).map(value => ({ ...whole, [field]: value })),
  )
  const { key: stated, validFrom, validUntil } = identity
  const key = Object.fromEntries(
    Object.entries({ key: stated, validFrom, validUntil }).filter(([, v]) => v !== undefined),
  )
  const found = [whole, ...each].flatMap(one => checkIdentity({ ...one, ...key }, at))
  const distinct = new Map(found.map(finding => [finding.message, finding]))
  return [...distinct.values()].map(({ path, message }) => {
    const field = path.at(-1) as keyof IdentityDocument
    return path.length > at.length && identity[field] === undefined
      ? { path: at, message }
      : { path, message }
  })
}

export const compileIdentity = (
  identity: IdentityDocument,
  at: readonly PropertyKey[],
  desk: Desk,
  name?: string,
): IdentityPattern => {
  const { findings, ...expanded } = expandIdentity(identity, at)
  for (const finding of findings) desk.complain(finding)
  return {
    ...(name !== undefined && { name }),
    line: desk.lineOf(at),
    ...expanded,
    ...(identity.key !== undefined && { key: compileKey(identity, at, desk) }),
  }
}
