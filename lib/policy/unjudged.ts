/**
 * What the language has words for and this version cannot judge: vouches and signatures of your
 * own, and the keys that check them. A policy that uses one is refused when loaded: to
 * pass over it would admit what its author meant to stop. Whoever teaches the judge one of them
 * removes its line here, and nothing else refuses it.
 */
import type { Finding } from '../config/document.ts'
import type { PolicyDocument } from './schema.ts'

const why = {
  vouch: 'vouches cannot be judged by this version',
  signature: 'signatures of your own cannot be judged by this version',
  key: 'keys of your own cannot be judged by this version',
} as const

type Path = readonly PropertyKey[]

const uses = (value: unknown, at: Path, ...keys: (keyof typeof why)[]): Finding[] =>
  typeof value !== 'object' || value === null
    ? []
    : keys
        .filter(key => Object.hasOwn(value, key))
        .map(key => ({ path: [...at, key], message: `${why[key]}; take ${key} out` }))

const inProvenance = (value: unknown, at: Path): Finding[] =>
  Array.isArray(value)
    ? value.flatMap((inner, i) => uses(inner, [...at, i], 'key'))
    : uses(value, at, 'key')

type Requirement = {
  readonly provenance?: unknown
  readonly anyOf?: readonly Requirement[] | undefined
}

const inRequirement = (value: Requirement | undefined, at: Path): Finding[] => [
  ...uses(value, at, 'vouch', 'signature'),
  ...inProvenance(value?.provenance, [...at, 'provenance']),
  ...(value?.anyOf ?? []).flatMap((inner, i) => inRequirement(inner, [...at, 'anyOf', i])),
]

/** One finding for each use. */
export const unjudged = ({
  identities = {},
  rules = [],
  defaults,
}: PolicyDocument): Finding[] => [
  ...Object.entries(identities).flatMap(([name, value]) =>
    uses(value, ['identities', name], 'key'),
  ),
  ...rules.flatMap((rule, i) => [...inRequirement(rule.require, ['rules', i, 'require'])]),
  ...inRequirement(defaults?.require, ['defaults', 'require']),
]
