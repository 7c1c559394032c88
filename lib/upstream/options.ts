/** What an upstream is opened with, and what it tells about its calls. */
import type { ErrorCode } from '../errors.ts'
import type { UpstreamTimeouts } from './transport.ts'

export type UpstreamLimits = {
  readonly packument: number
  readonly tarball: number
  readonly attestations: number
  readonly keys: number
}

export type UpstreamRequest = keyof UpstreamLimits

/** What became of one call, for metrics: an answer's kind, or the code of the error. */
export type UpstreamOutcome = {
  readonly upstream: string
  readonly request: UpstreamRequest | 'forward'
  readonly outcome: 'found' | 'missing' | 'not-modified' | ErrorCode
  /** Until the answer, for tarballs until it begins. */
  readonly milliseconds: number
  /** Requests made, redirects not counted. */
  readonly attempts: number
}

export type UpstreamOptions = {
  readonly name: string
  /** http or https, with or without a path. */
  readonly url: string
  readonly token?: string
  readonly username?: string
  readonly password?: string
  /** Bytes. */
  readonly limits: UpstreamLimits
  /** How long the upstream may be silent, milliseconds. */
  readonly timeout: number
  /** In place of what `timeoutsOf(timeout)` gives. */
  readonly timeouts?: Partial<UpstreamTimeouts>
  /** Connections open at once to one origin. */
  readonly connections: number
  readonly retries: number
  /** First pause before a retry, milliseconds; it doubles. Default 200. */
  readonly retryPause?: number
  /** PEM. */
  readonly ca?: string
  readonly tarballOrigins?: readonly string[]
  /** This instance's id, to notice when the upstream is this server. */
  readonly self?: string
  readonly userAgent: string
  readonly onOutcome?: (outcome: UpstreamOutcome) => void
}

/** From the one number of the settings: how long the upstream may be silent. */
export const timeoutsOf = (timeout: number): UpstreamTimeouts => ({
  connect: Math.min(timeout, 10_000),
  headers: timeout,
  idle: timeout,
  document: timeout * 4,
  tarball: timeout * 20,
  // npm itself waits five minutes for a registry to take a package in
  write: Math.max(timeout * 20, 600_000),
})

/** The value of the Authorization header, where there are credentials. */
export const authorizationOf = ({
  token,
  username,
  password,
}: UpstreamOptions): string | undefined => {
  if (token !== undefined) return `Bearer ${token}`
  if (username === undefined || password === undefined) return undefined
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}
