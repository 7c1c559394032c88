/**
 * `publishers`: many packages pinned in one rule, each to whoever builds it. An entry stands for a
 * rule of its own in that place, which says besides what the rule around it says.
 */
import type { Finding } from '../config/document.ts'
import { reservedWords } from './compile-requirement.ts'
import type {
  IdentityDocument,
  PolicyDocument,
  PublisherDocument,
  RuleDocument,
} from './schema.ts'

type Path = readonly PropertyKey[]

/** A rule about packages, whichever way it was written, and where. */
export type WrittenRule = {
  readonly rule: Omit<RuleDocument, 'packages' | 'publishers' | 'each'> & {
    readonly packages: readonly string[]
  }
  readonly at: Path
  /** Where the identity stands that is written in place of one in `require`. */
  readonly identityAt?: Path
}

/** Who signs, as the entry writes it; undefined where it names identities. */
export const identityIn = ({
  packages: _packages,
  versions: _versions,
  provenance: _provenance,
  ...identity
}: PublisherDocument): IdentityDocument | undefined =>
  Object.values(identity).some(value => value !== undefined) ? identity : undefined

/** Who that is, in a word or two. */
const who = (entry: PublisherDocument): string => {
  const { provenance, github, gitlab, google, kubernetes, circleci } = entry
  if (provenance !== undefined)
    return typeof provenance === 'string' ? provenance : provenance.join(' or ')
  const repository = URL.parse(entry.repository ?? '')?.pathname.slice(1)
  const place = github ?? gitlab
  return (
    place?.replace(/#\d+$/, '') ??
    google ??
    kubernetes ??
    repository ??
    entry.subject ??
    (circleci === undefined ? (entry.packages[0] ?? '') : circleci.project)
  )
}

const expand = (rule: RuleDocument, i: number): readonly WrittenRule[] => {
  const { publishers = [], each, packages: _packages, ...rest } = rule
  const taken = new Set<string>()
  return publishers.map((entry, k) => {
    const wanted = `${rule.name ?? `rule ${i + 1}`}: ${who(entry)}`
    let name = wanted
    for (let n = 2; taken.has(name); n++) name = `${wanted} (${n})`
    taken.add(name)
    const at = ['rules', i, 'publishers', k]
    const provenance = entry.provenance ?? { ...each, ...identityIn(entry) }
    return {
      rule: {
        ...rest,
        name,
        packages: entry.packages,
        ...(entry.versions !== undefined && { versions: entry.versions }),
        require: { ...rest.require, provenance },
      },
      at,
      ...(entry.provenance === undefined && { identityAt: at }),
    }
  })
}

/** One for each rule that judges, in their order. */
export const writtenRules = ({ rules = [] }: PolicyDocument): readonly WrittenRule[] =>
  rules.flatMap((rule, i): readonly WrittenRule[] => {
    if (rule.publishers !== undefined) return expand(rule, i)
    const { packages = [], publishers: _publishers, each: _each, ...rest } = rule
    return [{ rule: { ...rest, packages }, at: ['rules', i] }]
  })

const entryFindings = (entry: PublisherDocument, at: Path): Finding[] => {
  const identity = identityIn(entry)
  // a word would ask for less than a publisher, or for nothing
  if (typeof entry.provenance === 'string' && reservedWords.has(entry.provenance))
    return [
      {
        path: [...at, 'provenance'],
        message: `provenance: ${entry.provenance} names no publisher; wanted the name of an identity`,
      },
    ]
  if (entry.provenance !== undefined && identity !== undefined)
    return [
      {
        path: [...at, 'provenance'],
        message: `provenance names who signs; ${Object.keys(identity).join(' and ')} would say it again`,
      },
    ]
  if (entry.provenance === undefined && identity === undefined)
    return [
      {
        path: at,
        message:
          'names nobody: wanted an identity, as in github: owner/name#NUMBER, or provenance',
      },
    ]
  return []
}

/** What has no meaning in a rule with `publishers`. */
const outside = ['packages', 'versions', 'upstream', 'allow', 'deny'] as const

export const publisherFindings = ({ rules = [] }: PolicyDocument): Finding[] =>
  rules.flatMap((rule, i): Finding[] => {
    const at = ['rules', i]
    if (rule.publishers === undefined)
      return [
        ...(rule.packages === undefined
          ? [
              {
                path: at,
                message: `rules.${i}.packages: wanted a list of package names; found nothing`,
              },
            ]
          : []),
        ...(rule.each === undefined
          ? []
          : [{ path: [...at, 'each'], message: 'each stands beside publishers' }]),
      ]
    return [
      ...outside
        .filter(key => rule[key] !== undefined)
        .map(key => ({
          path: [...at, key],
          message: `${key} has no meaning beside publishers${key === 'packages' || key === 'versions' ? ', which have their own' : ''}`,
        })),
      ...(['provenance', 'anyOf'] as const)
        .filter(key => rule.require?.[key] !== undefined)
        .map(key => ({
          path: [...at, 'require', key],
          message: `${key}: each of the publishers says who must have signed`,
        })),
      ...rule.publishers.flatMap((entry, k) => entryFindings(entry, [...at, 'publishers', k])),
    ]
  })
