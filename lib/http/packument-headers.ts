/** What is said of a packument in headers, whichever way it is sent. */
import type { Form } from '../gate/representation.ts'
import type { ServedPackument } from '../gate/views.ts'
import { abbreviatedType } from './negotiate.ts'

/** Short, so that a revocation is heard of soon; the validator makes asking again cheap. */
export const FRESH = 'public, max-age=60'

export const contentTypes: Readonly<Record<Form, string>> = {
  full: 'application/json; charset=utf-8',
  abbreviated: abbreviatedType,
}

/** Is the client one that is told of refusals in dist-tags? */
export const isHinted = (agent: string | undefined): boolean =>
  agent !== undefined && agent.startsWith('pnpm/')

/** All but what depends on the encoding. */
export const packumentHeaders = ({
  standing: { refused },
  representation: { etag, modified },
  stale,
  fetchedAt,
}: ServedPackument): readonly (readonly [name: string, value: string])[] => [
  // pnpm's dist-tags name what is not there; a cache in between must not give them to others
  ['vary', `accept, accept-encoding${refused.size > 0 ? ', user-agent' : ''}`],
  ['etag', etag],
  ['cache-control', FRESH],
  ...(modified ? [['last-modified', new Date(modified).toUTCString()] as const] : []),
  ...(refused.size > 0 ? [['attestry-refused', String(refused.size)] as const] : []),
  ...(stale
    ? [
        ['warning', '110 attestry "Response is Stale"'] as const,
        ['attestry-stale', new Date(fetchedAt).toISOString()] as const,
      ]
    : []),
]
