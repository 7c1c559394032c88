/** Names that people can read, for identities after their repository and for rules after what they say. */
import { reservedWords } from '../policy/compile-requirement.ts'
import type { RuleDraft } from './drafts.ts'
import { groupBy } from './observation.ts'
import type { Pin } from './pins.ts'

const clean = (text: string): string =>
  text
    .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
    .replaceAll(/^[^A-Za-z]+|[^A-Za-z0-9]+$/g, '')
    .slice(0, 60)

const segments = ({ fields }: Pin): readonly string[] =>
  URL.parse(fields.repository ?? '')
    ?.pathname.split('/')
    .filter(part => part !== '') ?? []

/** `sigstore/sigstore-js`; without a repository the subject. */
export const publisherWords = (pin: Pin): string =>
  segments(pin).join('/') ||
  (pin.fields.subject ?? pin.fields.repositoryId ?? pin.fields.issuer ?? '')

const last = (path: string | undefined) => path?.split('/').at(-1) ?? ''

/** What sets a pin apart from the first one of its publisher, most telling first. */
const differences = ({ fields }: Pin, first: Pin): readonly string[] => {
  const differs = (field: keyof Pin['fields']) => fields[field] !== first.fields[field]
  const { ref = '' } = fields
  return [
    ...(differs('repository') ? [last(fields.repository)] : []),
    ...(differs('workflow') ? [last(fields.workflow).replace(/\.ya?ml$/, '')] : []),
    ...(differs('ref') ? [ref.startsWith('refs/tags/') ? 'tags' : last(ref)] : []),
    ...(differs('trigger') ? [fields.trigger ?? ''] : []),
    ...(differs('environment') ? [fields.environment ?? ''] : []),
    ...(differs('runner') ? [fields.runner ?? ''] : []),
  ]
    .map(clean)
    .filter(word => word !== '')
}

/** `wanted`, or with the first number that makes it free. Takes it. */
export const free = (
  wanted: string,
  taken: Set<string>,
  numbered: (n: number) => string,
): string => {
  let name = wanted
  for (let n = 2; taken.has(name); n++) name = numbered(n)
  taken.add(name)
  return name
}

export type Named = { readonly name: string; readonly pin: Pin }

/**
 * Names by the pins' keys, those in use among them. `pins` in order of importance: the first of a
 * publisher bears the plain name, the others what sets them apart.
 */
export const nameIdentities = (
  pins: readonly Pin[],
  known: readonly Named[],
  inUse: Iterable<string>,
): ReadonlyMap<string, string> => {
  const taken = new Set([...reservedWords, ...inUse])
  const names = new Map(known.map(({ pin, name }) => [pin.key, name]))
  // certificates of one repository with and without its number share a name
  const family = ({ publisher, fields }: Pin) => fields.repository?.toLowerCase() ?? publisher
  const fresh = groupBy(
    pins.filter(pin => !names.has(pin.key)),
    family,
  )
  const plain = (pin: Pin) =>
    clean(segments(pin).at(-1) ?? pin.fields.subject ?? '') || 'publisher'
  const alike = groupBy(
    [...fresh.values()].flatMap(([pin]) => pin ?? []),
    plain,
  )
  for (const [owner, ofOne] of fresh) {
    const before = known.find(({ pin }) => family(pin) === owner)
    const first = before?.pin ?? ofOne[0]
    if (first === undefined) continue
    const alone = alike.get(plain(first))?.length === 1 && !taken.has(plain(first))
    const whole = clean(segments(first).join('-')) || plain(first)
    const base = before?.name ?? (alone ? plain(first) : whole)
    for (const pin of ofOne) {
      const more = pin === first ? [] : differences(pin, first)
      const longer = more.map((_, i) => [base, ...more.slice(0, i + 1)].join('-'))
      const wanted = [base, ...longer].find(name => !taken.has(name)) ?? base
      names.set(
        pin.key,
        free(wanted.slice(0, 90), taken, n => `${base.slice(0, 90)}-${n}`),
      )
    }
  }
  return names
}

const some = (packages: readonly string[]): string => {
  const [first = '', second] = packages
  if (second === undefined) return first
  return packages.length === 2 ? `${first} and ${second}` : `${first} and others`
}

const wordsFor = ({ kind, packages, pins, versions, signed }: RuleDraft): string => {
  const builders = [...new Set(pins.map(publisherWords))].join(' or ')
  switch (kind) {
    case 'built': {
      const verb = packages.length === 1 && !packages[0]?.includes('*') ? 'is' : 'are'
      return `${some(packages)} ${verb} built by ${builders}`
    }
    case 'exact': {
      const names = [...new Set(packages.map(p => p.slice(0, p.lastIndexOf('@'))))]
      return `earlier versions of ${some(names)} were built by ${builders}`
    }
    case 'older':
      return `${some(packages)} came without provenance ${versions?.replace('<', 'before ')}`
    case 'bare':
      return signed
        ? 'single versions that came without provenance'
        : 'single versions that came without provenance and signature'
    case 'signed':
      return 'signed by the registry, nobody says who built them'
    case 'unsigned':
      return 'signed by nobody'
  }
}

/** One name for each draft, none of them in use. */
export const nameRules = (
  drafts: readonly RuleDraft[],
  inUse: Iterable<string>,
): readonly string[] => {
  const taken = new Set(inUse)
  return drafts.map(draft => {
    const wanted = wordsFor(draft).slice(0, 300)
    return free(wanted, taken, n => `${wanted} (${n})`)
  })
}
