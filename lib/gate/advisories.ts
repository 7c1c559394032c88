/**
 * Advisories for what somebody has installed: each upstream's for the names that are its own, and
 * our own findings beside them. Whatever an upstream does, there is an answer: an audit that fails
 * would break installs.
 */
import { isAttestryError, messageOf } from '../errors.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { record } from './claims.ts'
import type { Findings, Inventory } from './findings.ts'
import { jsonBody } from './json-body.ts'
import type { PassLimits, Sender } from './pass-through.ts'
import type { Routing } from './routing.ts'

export type Advisories = {
  readonly byName: ReadonlyMap<string, readonly unknown[]>
  /** What is missing in it, one sentence each: upstreams that gave none, names nobody looked at. */
  readonly notes: readonly string[]
}

export type AdvisoriesOptions = {
  readonly routing: Routing
  readonly findings: (asked: Inventory) => Promise<Findings>
  readonly limits: PassLimits
  /** Milliseconds an upstream may take before the answer is given without it. Default 10 s. */
  readonly patience?: number
}

const BULK = '-/npm/v1/security/advisories/bulk'

const toJson = (asked: Inventory) => Buffer.from(JSON.stringify(Object.fromEntries(asked)))

export const openAdvisories = (options: AdvisoriesOptions) => {
  const { routing, findings, limits, patience = 10_000 } = options

  /** A mirror's advisories are those of the registry whose evidence counts. */
  const sourceOf = (name: string): Upstream | undefined => {
    try {
      return routing.named(routing.evidenceOf(routing.upstreamFor(name).name))
    } catch (error) {
      // a name that two upstreams reserve is asked of neither
      if (isAttestryError(error) && error.code === 'ECONFIG') return undefined
      throw error
    }
  }

  /** No name goes to an upstream whose it is not. */
  const split = (asked: Inventory): ReadonlyMap<Upstream, Inventory> => {
    const parts = new Map<Upstream, Map<string, readonly string[]>>()
    for (const [name, versions] of asked) {
      const upstream = sourceOf(name)
      if (!upstream || routing.termsOf(upstream.name).passThrough === 'off') continue
      const part = parts.get(upstream) ?? new Map<string, readonly string[]>()
      parts.set(upstream, part.set(name, versions))
    }
    return parts
  }

  type Part = {
    readonly byName: ReadonlyMap<string, readonly unknown[]>
    readonly note?: string
  }

  const ask = async (upstream: Upstream, asked: Inventory, sender: Sender): Promise<Part> => {
    const { name } = upstream
    const none = (why: string): Part => ({
      byName: new Map(),
      note: `no advisories from ${name}: ${why}`,
    })
    const forwards = routing.termsOf(name).clientCredentials === 'forward'
    const theirs = forwards && sender.authorization !== undefined
    try {
      const answer = await upstream.forward({
        method: 'POST',
        path: BULK,
        headers: { accept: 'application/json', 'content-type': 'application/json' },
        body: toJson(asked),
        credentials: theirs ? { authorization: sender.authorization } : 'own',
        limit: { bytes: limits.audit, key: 'limits.audit' },
        // installs wait for it
        signal: AbortSignal.timeout(patience),
      })
      if (answer.status !== 200) {
        answer.body.destroy()
        return none(`it answered ${answer.status}`)
      }
      const body = await jsonBody(answer, {
        upstream: name,
        limit: limits.audit,
        key: 'limits.audit',
      })
      // it is heard only about what it was asked
      const entries = Object.entries(record(body)).filter(
        (entry): entry is [string, unknown[]] => asked.has(entry[0]) && Array.isArray(entry[1]),
      )
      return { byName: new Map(entries) }
    } catch (error) {
      if (!isAttestryError(error)) throw error
      return none(messageOf(error))
    }
  }

  return async (asked: Inventory, sender: Sender): Promise<Advisories> => {
    const [own, ...parts] = await Promise.all([
      findings(asked),
      ...[...split(asked)].map(([upstream, part]) => ask(upstream, part, sender)),
    ])
    const byName = new Map<string, readonly unknown[]>()
    for (const { byName: part } of [...parts, { byName: own.advisories }])
      for (const [name, advisories] of part)
        byName.set(name, [...(byName.get(name) ?? []), ...advisories])
    const notes = parts.flatMap(({ note }) => note ?? [])
    return {
      byName,
      notes:
        own.unlooked > 0
          ? [...notes, `${own.unlooked} packages were not looked at by this server yet`]
          : notes,
    }
  }
}
