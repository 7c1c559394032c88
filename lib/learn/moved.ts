/** Packages whose publisher is another than the one that was learned before. */
import { publisherName, samePublisher } from '../policy/identity.ts'
import { ruleMatches } from '../policy/match.ts'
import type { IdentityPattern } from '../policy/policy.ts'
import type { Identity } from '../types.ts'
import { isBuilt, type Built, type Observation } from './observation.ts'
import type { Source } from './source.ts'

export type Moved = {
  readonly observation: Built
  readonly wanted: string
  readonly found: string
}

const named = ({ fields }: IdentityPattern): Identity => ({
  issuer: '',
  subject: '',
  subjectType: 'uri',
  ...fields,
})

/**
 * Another workflow or ref of the same repository may be learned afresh; another repository is a
 * decision, which somebody makes by taking out what was learned.
 */
export const moved = (source: Source, observations: readonly Observation[]): readonly Moved[] =>
  observations.filter(isBuilt).flatMap(observation => {
    const { identity } = observation
    const rule = source.rules.find(({ rule }) => ruleMatches(rule, observation))
    if (!rule?.learned || !rule.identities) return []
    const { identities: names } = rule
    const known = [...source.identities, ...source.inline].flatMap(({ pattern }) =>
      names.includes(pattern.name ?? '') ? [named(pattern)] : [],
    )
    if (known.some(before => samePublisher(before, identity))) return []
    const wanted = [...new Set(known.map(publisherName))].join(' or ')
    return [{ observation, wanted, found: publisherName(identity) }]
  })
