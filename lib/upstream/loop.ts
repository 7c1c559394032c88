/**
 * How a server finds out that its upstream is itself. Requests to an upstream carry `viaHeader` with
 * the instance's id; the HTTP side answers a request that carries its own id with status 508 and
 * `{"code":"ELOOP", …}`, and says its id in `instanceHeader` on every answer.
 */
import { AttestryError } from '../errors.ts'

export const viaHeader = 'attestry-via'
export const instanceHeader = 'attestry-instance'

/** For the HTTP side: is this request one of our own, come back? */
export const cameFrom = (self: string, via: string | undefined): boolean =>
  via !== undefined && via.split(',').some(id => id.trim() === self)

export const loopError = (upstream: string, url: string): AttestryError =>
  new AttestryError('ELOOP', `upstream ${upstream}: ${url} leads back to this server`, {
    details: { upstream },
  })

/** The body of a 508 that another Attestry, or this one, answered. */
export const isLoopAnswer = (body: Buffer): boolean => {
  try {
    const answer: unknown = JSON.parse(body.toString('utf8'))
    return (
      typeof answer === 'object' &&
      answer !== null &&
      'code' in answer &&
      answer.code === 'ELOOP'
    )
  } catch {
    return false
  }
}
