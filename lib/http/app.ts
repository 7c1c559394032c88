/** The koa application: one route table, one place where errors become answers. */
import Koa, { type Context } from 'koa'
import { AttestryError, isAttestryError } from '../errors.ts'
import type { Gate } from '../gate/gate.ts'
import { cameFrom, instanceHeader, viaHeader } from '../upstream/loop.ts'
import { clientOf } from './client.ts'
import { openEntrance, type EntranceOptions } from './entrance.ts'
import { openPump } from './pump.ts'
import { errorAnswer } from './refusal.ts'
import { requestIdHeader } from './request-id.ts'
import { routeOf, type Route } from './route.ts'
import { sendAdvisories, sendAuditReport } from './send-audit.ts'
import { sendCheckpoint, sendTile, type LogSource } from './send-log.ts'
import { sendDistTags, sendManifest, sendPackument } from './send-packument.ts'
import { senderOf, sendPassed } from './send-passed.ts'
import { sendRefused } from './send-refusal.ts'
import { sendSummary } from './send-summary.ts'
import { sendTarball, type Sending } from './send-tarball.ts'
import { sendAnswer, sendJson } from './send.ts'
import { takeRevocation, takeVouch } from './take-vouch.ts'
import { sendWhy } from './why.ts'

export type RequestRecord = {
  readonly method: string
  /** The kind of route, never the whole address: logout puts a token into it. */
  readonly route: Route['kind']
  readonly status: number
  /** Milliseconds until the answer was ready to be sent. */
  readonly duration: number
  readonly client: ReturnType<typeof clientOf>
  /** What the client or we call this request, for finding it in several logs. */
  readonly requestId?: string
}

export type AppObserver = {
  readonly onRequest?: (record: RequestRecord) => void
  /** Errors nobody raised on purpose. */
  readonly onError?: (what: string, error: unknown) => void
}

export type AppOptions = EntranceOptions & {
  /** Identifies this process, so that an upstream that is ourselves is noticed. */
  readonly instance: string
  readonly version: string
  readonly auditLog?: LogSource
  /** More of the answer to who asks whether we are ready. */
  readonly health?: () => Readonly<Record<string, unknown>>
  /** The server is told to stop: no new clients should be sent here. */
  readonly stopping?: () => boolean
  readonly metrics?: () => Promise<{ readonly type: string; readonly text: string }>
  readonly observer?: AppObserver
}

const KEPT = 'public, max-age=300'

/** Routes that are passed on have their method in them. */
const takes = (route: Route, method: string): boolean => {
  if ('method' in route) return true
  const posted = ['advisories', 'audits', 'vouch', 'revocation'].includes(route.kind)
  return posted ? method === 'POST' : method === 'GET' || method === 'HEAD'
}

const sendDocument = async (
  ctx: Context,
  what: string,
  answer: Awaited<ReturnType<Gate['keys']>>,
) => {
  if (answer.kind === 'missing') {
    throw new AttestryError('ENOTFOUND', `The upstream has no ${what}.`)
  }
  sendJson(ctx, 200, answer.body, KEPT)
}

export const openApp = (options: AppOptions): Koa => {
  const { instance, version, metrics, auditLog, health, observer = {} } = options
  const entrance = openEntrance(options)
  const pump = openPump()
  const app = new Koa()
  // a download that the client gave up is no error of ours
  app.on('error', (error: NodeJS.ErrnoException) => {
    const gone = ['ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET', 'EPIPE', 'ECANCELED']
    if (!gone.includes(error.code ?? '')) observer.onError?.('response', error)
  })

  const answer = async (ctx: Context, route: Route, gate: Gate): Promise<void> => {
    switch (route.kind) {
      case 'packument':
        return sendPackument(ctx, gate, route.name)
      case 'tarball':
        return sendTarball(ctx, gate, route.id, pump)
      case 'manifest':
        return sendManifest(ctx, gate, route.name, route.versionOrTag)
      case 'dist-tags':
        return sendDistTags(ctx, gate, route.name, route.tag)
      case 'search': {
        const found = await gate.search(new URLSearchParams(route.query), senderOf(ctx))
        return sendJson(ctx, 200, found)
      }
      case 'advisories':
        return sendAdvisories(ctx, gate)
      case 'audits':
        return sendAuditReport(ctx, gate)
      case 'document':
        // where nobody may change it there is nothing to read it for but to look
        return route.owner.kind !== 'package' || gate.allowsPassing(route)
          ? sendPassed(ctx, gate, route)
          : sendPackument(ctx, gate, route.owner.name)
      case 'attestations':
        return sendDocument(ctx, 'attestations', await gate.attestations(route.id))
      case 'keys':
        return sendDocument(ctx, 'registry keys', await gate.keys())
      case 'why':
        return sendWhy(ctx, gate, route.id)
      case 'refused':
        return sendRefused(ctx, gate, route.id)
      case 'vsa':
        return sendSummary(ctx, gate, route.id)
      case 'ping':
        return sendJson(ctx, 200, {})
      case 'live':
        return sendJson(ctx, 200, { status: 'live' })
      case 'ready':
        if (options.stopping?.() === true)
          throw new AttestryError('ESTOPPING', 'This server is told to stop.')
        await gate.check()
        return sendJson(ctx, 200, {
          status: 'ready',
          policy: gate.policyDigest,
          version,
          ...health?.(),
        })
      case 'log-checkpoint':
        if (!auditLog) break
        return sendCheckpoint(ctx, auditLog)
      case 'log-tile':
      case 'log-entries':
        if (!auditLog) break
        return sendTile(ctx, auditLog, route.tile)
      case 'metrics': {
        if (!metrics) break
        const { type, text } = await metrics()
        ctx.set('cache-control', 'no-store')
        ctx.body = text
        ctx.set('content-type', type)
        return
      }
      case 'vouch':
        return takeVouch(ctx, gate)
      case 'revocation':
        return takeRevocation(ctx, gate)
      case 'index':
        return sendJson(ctx, 200, { attestry: version, policy: gate.policyDigest })
      case 'unknown':
        break
      default:
        return sendPassed(ctx, gate, route)
    }
    throw new AttestryError('ENOTFOUND', `There is nothing at ${ctx.path}.`)
  }

  app.use(async ctx => {
    const started = performance.now()
    let kind: Route['kind'] = 'unknown'
    ctx.set(instanceHeader, instance)
    entrance.note(ctx)
    try {
      if (cameFrom(instance, ctx.get(viaHeader))) {
        throw new AttestryError('ELOOP', 'This request came from this server itself.')
      }
      const place = entrance.placeOf(ctx.req.url ?? '/')
      const route = routeOf(place.target, ctx.method)
      kind = route.kind
      const gate = await entrance.admit(ctx, kind, place)
      if (!takes(route, ctx.method)) {
        const message = `${ctx.method} is not taken at this address.`
        throw route.kind === 'unknown'
          ? new AttestryError('ENOTFOUND', message)
          : new AttestryError('EMETHOD', message)
      }
      await answer(ctx, route, gate)
    } catch (error) {
      const known = isAttestryError(error)
      if (!known) observer.onError?.('request', error)
      const told = known
        ? error
        : new AttestryError('EINTERNAL', 'Something went wrong in this server.')
      sendAnswer(ctx, errorAnswer(told))
    }
    entrance.leave(ctx)
    const { method, status } = ctx
    const duration = performance.now() - started
    const requestId = ctx.response.get(requestIdHeader)
    const client = clientOf(ctx)
    observer.onRequest?.({ method, route: kind, status, duration, client, requestId })
    const sending = ctx.state['sending'] as Sending | undefined
    if (!sending) return
    ctx.respond = false
    sending(ctx.res).catch((error: unknown) => app.emit('error', error, ctx))
  })
  return app
}
