/** An upstream registry over HTTP: the four questions a proxy has, asked by the registry protocol. */
import { AttestryError, isAttestryError } from '../errors.ts'
import { documentEncodings } from './body.ts'
import { takeDocument, type Document } from './documents.ts'
import { faultOf, upstreamError } from './faults.ts'
import { openForward } from './forward.ts'
import {
  authorizationOf,
  timeoutsOf,
  type UpstreamOptions,
  type UpstreamOutcome,
  type UpstreamRequest,
} from './options.ts'
import type { NoContent } from './reply.ts'
import { openDeadline, withRetries, type Attempt, type Deadline } from './retry.ts'
import { openRoute, tarballTarget } from './route.ts'
import { takeTarball } from './tarballs.ts'
import { openTransport, type Reply } from './transport.ts'
import type { TarballAnswer, Upstream, Validators } from './upstream.ts'

/** `@scope/name` → `@scope%2fname`, as npm writes it. Never a step up in the path. */
export const escapeName = (name: string): string => {
  if (name === '' || name === '.' || name === '..')
    throw new AttestryError('EBADREQUEST', `${JSON.stringify(name)} is not a package name`)
  return encodeURIComponent(name).replace(/^%40/, '@').replaceAll('%2F', '%2f')
}

const conditions = (known: Validators | undefined): Record<string, string> => ({
  ...(known?.etag !== undefined && { 'if-none-match': known.etag }),
  ...(known?.lastModified !== undefined && { 'if-modified-since': known.lastModified }),
})

/** `close` ends what is under way: its calls and streams fail with EUPSTREAM. */
export const openUpstream = (options: UpstreamOptions): Upstream => {
  const { name, limits, retries, retryPause = 200, onOutcome, tarballOrigins = [] } = options
  const timeouts = { ...timeoutsOf(options.timeout), ...options.timeouts }
  const base = new URL(options.url.endsWith('/') ? options.url : `${options.url}/`)
  const route = openRoute({ upstream: name, base, tarballOrigins })
  const authorization = authorizationOf(options)
  const transport = openTransport({
    route,
    timeouts,
    connections: options.connections,
    userAgent: options.userAgent,
    ...(options.ca !== undefined && { ca: options.ca }),
    ...(options.self !== undefined && { self: options.self }),
    ...(authorization !== undefined && { authorization }),
  })

  /** Asks until there is an answer, and reports what became of it. */
  const ask = async <T extends TarballAnswer | Document | NoContent>(
    request: UpstreamRequest,
    url: URL,
    headers: Record<string, string>,
    deadline: Deadline,
    take: (reply: Reply) => Promise<Attempt<T>>,
  ): Promise<T> => {
    const start = performance.now()
    let attempts = 0
    const report = (outcome: UpstreamOutcome['outcome']) => {
      const milliseconds = performance.now() - start
      onOutcome?.({ upstream: name, request, outcome, milliseconds, attempts })
    }
    try {
      const answer = await withRetries({ retries, base: retryPause, deadline }, async () => {
        attempts++
        let begun = false
        try {
          const reply = await transport.get(url, headers, deadline.signal)
          begun = true
          return await take(reply)
        } catch (error) {
          const asked = { upstream: name, url }
          return { fault: faultOf(error, asked, { begun, late: deadline.passed() }) }
        }
      })
      report(answer.kind)
      return answer
    } catch (error) {
      report(isAttestryError(error) ? error.code : 'EINTERNAL')
      throw error
    }
  }

  const document = async (request: UpstreamRequest, path: string, known?: Validators) => {
    const conditional = conditions(known)
    const headers = {
      accept: 'application/json',
      'accept-encoding': documentEncodings,
      ...conditional,
    }
    const isConditional = Object.keys(conditional).length > 0
    const deadline = openDeadline(timeouts.document)
    try {
      return await ask(request, new URL(path, base), headers, deadline, reply =>
        takeDocument(reply, { upstream: name, limits, request }, isConditional),
      )
    } finally {
      deadline.clear()
    }
  }

  const unconditional = async (request: UpstreamRequest, path: string) => {
    const answer = await document(request, path)
    // cannot be: a 304 that was not asked for is EUPSTREAMDATA already
    if (answer.kind !== 'not-modified') return answer
    throw upstreamError('EUPSTREAMDATA', { upstream: name, url: base }, 'answered 304')
  }

  return {
    name,
    url: base.href,
    packument: async (packageName, known) =>
      document('packument', escapeName(packageName), known),
    attestations: async id =>
      unconditional(
        'attestations',
        `-/npm/v1/attestations/${escapeName(id.name)}@${encodeURIComponent(id.version)}`,
      ),
    keys: () => unconditional('keys', '-/npm/v1/keys'),
    tarball: async text => {
      const url = tarballTarget(route, text)
      const headers = { accept: '*/*', 'accept-encoding': 'identity' }
      const deadline = openDeadline(timeouts.tarball)
      let streaming = false
      try {
        const answer = await ask('tarball', url, headers, deadline, reply =>
          takeTarball(reply, { upstream: name, limits, request: 'tarball' }, deadline),
        )
        streaming = answer.kind === 'found'
        return answer
      } finally {
        if (!streaming) deadline.clear()
      }
    },
    forward: openForward({
      upstream: name,
      base,
      route,
      transport,
      timeouts,
      ...(authorization !== undefined && { authorization }),
      report: (outcome, milliseconds) =>
        onOutcome?.({ upstream: name, request: 'forward', outcome, milliseconds, attempts: 1 }),
    }),
    close: () => transport.close(),
  }
}
