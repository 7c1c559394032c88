/** An upstream that is not asked: every question fails at once, so that only the store answers. */
import { AttestryError } from '../errors.ts'
import type { Upstream } from './upstream.ts'

export const offlineUpstream = ({ name, url }: Pick<Upstream, 'name' | 'url'>): Upstream => {
  const refuse = () =>
    Promise.reject(
      new AttestryError(
        'EOFFLINE',
        `The store has no answer, and ${name} is not asked offline.`,
      ),
    )
  return {
    name,
    url,
    packument: refuse,
    attestations: refuse,
    keys: refuse,
    tarball: refuse,
    forward: refuse,
    close: () => Promise.resolve(),
  }
}
