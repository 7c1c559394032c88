/** What the health endpoint tells of trust: no path of this machine, no text of somebody else's. */
import { roles } from './tuf-state.ts'
import type { SourceStatus, TrustStatus } from './status.ts'

/** The first end of its TUF metadata. */
export const expiresOf = ({ metadata = {} }: SourceStatus): string | undefined =>
  roles
    .flatMap(role => metadata[role]?.expires ?? [])
    .toSorted((a, b) => (a < b ? -1 : 1))
    .at(0)

export type TrustHealth = {
  /** Digests of the trust material, by upstream. */
  readonly digests: Readonly<Record<string, string>>
  readonly sources: readonly {
    readonly name: string
    readonly origin: SourceStatus['origin']
    readonly checkedAt?: string
    readonly expires?: string
    /** Since when it could not be renewed, and whether what came was refused. */
    readonly failing?: { readonly since: string; readonly refused: boolean }
  }[]
  readonly warnings: readonly string[]
}

export const healthOf = ({ sources, upstreams, warnings }: TrustStatus): TrustHealth => ({
  digests: Object.fromEntries(upstreams.map(({ upstream, digest }) => [upstream, digest])),
  sources: sources.map(source => {
    const { name, origin, checkedAt, failure } = source
    const expires = expiresOf(source)
    return {
      name,
      origin,
      ...(checkedAt !== undefined && { checkedAt }),
      ...(expires !== undefined && { expires }),
      ...(failure && { failing: { since: failure.since, refused: failure.refused } }),
    }
  }),
  warnings: warnings.map(({ kind, source, message }) =>
    kind === 'failed' || kind === 'refused'
      ? `${source}: it could not be renewed; the log tells why.`
      : message,
  ),
})
