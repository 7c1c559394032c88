/**
 * Which upstream a name belongs to. A name that is reserved, in the settings or by a policy rule,
 * is asked of its upstream and of no other: there is no falling back, in either direction.
 */
import { LRUCache } from 'lru-cache'
import { atMost } from '../at-most.ts'
import { AttestryError } from '../errors.ts'
import { coversName, parsePattern } from '../policy/match.ts'
import { upstreamFor as reservedByPolicy } from '../policy/namespace.ts'
import type { PackagePattern, Policy } from '../policy/policy.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { joinUpstreams } from './joined-upstream.ts'

/** What the settings say of an upstream beyond how it is reached. */
export type UpstreamTerms = {
  /** Patterns of names that come from here only. */
  readonly packages: readonly string[]
  /** The upstream whose word on integrity and evidence counts, while bytes come from this one. */
  readonly evidenceFrom?: string | undefined
  readonly passThrough: 'off' | 'read' | 'write'
  readonly clientCredentials: 'never' | 'forward'
}

/** Where the settings say nothing. */
export const defaultTerms: UpstreamTerms = {
  packages: [],
  passThrough: 'read',
  clientCredentials: 'never',
}

export type RoutingOptions = {
  /** By name; the first has every name that nobody reserved. */
  readonly upstreams: ReadonlyMap<string, Upstream>
  readonly terms: ReadonlyMap<string, UpstreamTerms>
  /** All in force, of all views. */
  readonly policies: () => readonly Policy[]
}

export type Routing = ReturnType<typeof openRouting>

type Reservation = { readonly pattern: PackagePattern; readonly upstream: string }

/** A name before a pattern, a longer pattern before a shorter one. */
const weight = ({ pattern }: Reservation): number =>
  pattern.kind === 'glob' ? pattern.head.length + pattern.tail.length : Infinity

const reservationsOf = (terms: RoutingOptions['terms']): readonly Reservation[] =>
  [...terms]
    .flatMap(([upstream, { packages }]) =>
      packages.map((text): Reservation => {
        const pattern = parsePattern(text)
        if (!('complaint' in pattern)) return { pattern, upstream }
        const message = `upstreams.${upstream}.packages: "${text}" ${pattern.complaint}.`
        throw new AttestryError('ECONFIG', message)
      }),
    )
    .sort((a, b) => weight(b) - weight(a) || 0)

/**
 * The upstream that has a name to itself, by the settings or by a policy rule. What it gives throws
 * ECONFIG for a name that two reserve; itself throws for a pattern that is none.
 */
export const openReservations = ({
  terms,
  policies,
}: Pick<RoutingOptions, 'terms' | 'policies'>) => {
  const reservations = reservationsOf(terms)
  const reservedFor = (name: string): string | undefined => {
    const here = reservations.find(({ pattern }) => coversName(pattern, name))?.upstream
    const there = reservedByPolicy(policies(), name)
    if (here === undefined || there === undefined || here === there) return here ?? there
    const message = `${name} is reserved for the upstream ${here} in upstreams.${here}.packages, and for ${there} by a policy rule; it is asked of neither.`
    throw new AttestryError('ECONFIG', message)
  }
  return { reservations, reservedFor }
}

export const openRouting = ({ upstreams, terms, policies }: RoutingOptions) => {
  const { reservations, reservedFor } = openReservations({ terms, policies })
  const termsOf = (name: string): UpstreamTerms => terms.get(name) ?? defaultTerms
  const joined = new Map(
    [...upstreams].map(([name, upstream]) => {
      const source = termsOf(name).evidenceFrom
      if (source === undefined) return [name, upstream] as const
      const evidence = upstreams.get(source)
      if (evidence) return [name, joinUpstreams(upstream, evidence)] as const
      const message = `upstreams.${name}.evidenceFrom names ${source}, which is not configured.`
      throw new AttestryError('ECONFIG', message)
    }),
  )
  const [first] = joined.values()
  if (!first) throw new AttestryError('ECONFIG', 'No upstream is configured.')

  /** Names that were looked up, as long as the policies are the same. */
  const known = new LRUCache<string, Upstream>(atMost(20_000))
  let knownUnder: readonly Policy[] | undefined

  const upstreamFor = (name: string): Upstream => {
    const layers = policies()
    if (layers !== knownUnder) known.clear()
    knownUnder = layers
    const found = known.get(name)
    if (found) return found
    const upstream = lookUp(name)
    known.set(name, upstream)
    return upstream
  }

  const lookUp = (name: string): Upstream => {
    const reserved = name === '' ? undefined : reservedFor(name)
    const upstream = reserved === undefined ? first : joined.get(reserved)
    if (upstream) return upstream
    const message = `A policy rule reserves ${name} for the upstream ${reserved}, which is not configured.`
    throw new AttestryError('ECONFIG', message)
  }

  return {
    /** Throws ECONFIG for a name that two reserve. */
    upstreamFor,
    termsOf,
    /** The upstream that has this name to itself. Throws ECONFIG for a name that two reserve. */
    reservedFor,
    all: (): readonly Upstream[] => [...joined.values()],
    /** Those that have names, reserved ones first: not those that are asked for evidence only. */
    owners: (): readonly Upstream[] => {
      const reserving = new Set([
        ...reservations.map(({ upstream }) => upstream),
        ...policies().flatMap(({ rules }) => rules.flatMap(({ upstream }) => upstream ?? [])),
      ])
      const others = [...joined.values()].filter(
        upstream => upstream !== first && reserving.has(upstream.name),
      )
      return [...others, first]
    },
    named: (name: string): Upstream | undefined => joined.get(name),
    /** `@scope`: the upstream that has the whole of it, or that has what nobody reserved. */
    upstreamForScope: (scope: string): Upstream => upstreamFor(`${scope}/_`),
    /** Whose keys and trust roots count for what comes from this upstream. */
    evidenceOf: (name: string): string => termsOf(name).evidenceFrom ?? name,
    /**
     * Where accounts are, for requests that name no package: the upstream that has the scope, where
     * one is given and reserved, else the first that is given clients' credentials.
     */
    accounts: (scope?: string): Upstream | undefined => {
      const own = scope === undefined ? undefined : reservedFor(`${scope}/_`)
      if (own !== undefined) return joined.get(own)
      return [...joined.values()].find(
        ({ name }) => termsOf(name).clientCredentials === 'forward',
      )
    },
  }
}
