/**
 * What a server answers with: at once what is ready, the long way everything else. The long way
 * (koa, and what makes the answers) is loaded behind the first of them.
 */
import { randomUUID } from 'node:crypto'
import type { RequestListener } from 'node:http'
import { AttestryError } from '../errors.ts'
import type { AppOptions } from './app.ts'
import { openAtOnce } from './at-once.ts'
import { refuseAll } from './front.ts'
import { requestIdHeader, requestIdOf } from './request-id.ts'

/**
 * Milliseconds until the long way is loaded though nobody needed it: it takes a fifth of a server's
 * start. Whoever needs it before waits no longer than it would have taken to start.
 */
const LOAD = 50

export const openHandler = (options: AppOptions): RequestListener => {
  const atOnce = openAtOnce(options)
  const load = async () => {
    try {
      const { openApp } = await import('./app.ts')
      return openApp(options).callback()
    } catch (error) {
      options.observer?.onError?.('start', error)
      return refuseAll(
        new AttestryError('EINTERNAL', 'A part of this server could not be loaded.'),
      )
    }
  }
  let loading: ReturnType<typeof load> | undefined
  const longWay = () => (loading ??= load())
  setTimeout(() => void longWay(), LOAD).unref()
  return (request, response) => {
    const given = requestIdOf(request.headers[requestIdHeader])
    if (given !== undefined) response.setHeader(requestIdHeader, given)
    if (atOnce(request, response, given)) return
    if (given === undefined) response.setHeader(requestIdHeader, randomUUID())
    void longWay().then(answer => answer(request, response))
  }
}
