/**
 * What every request passes before it is answered: where it lies, who asks, and which gate judges
 * for them. After that nothing of an Authorization header that was meant for us is left to pass on.
 */
import type { Context } from 'koa'
import type { Access } from '../access/access.ts'
import { anonymous, type Caller } from '../access/caller.ts'
import { AttestryError } from '../errors.ts'
import type { Client, Gate } from '../gate/gate.ts'
import { openProxies, readClient } from './client.ts'
import { placeOf, viewPath, type Place } from './place.ts'

export type EntranceOptions = {
  readonly gate: Gate
  /** Names of the views. */
  readonly views?: readonly string[]
  /** Without it everybody may ask, and nobody is known. */
  readonly access?: Pick<Access, 'identify' | 'checkAdmin' | 'mode'>
  /** Addresses and networks whose X-Forwarded-For counts. */
  readonly trustedProxies?: readonly string[]
}

export type Entrance = ReturnType<typeof openEntrance>

/** Of the first a load balancer asks; none tells anything of packages that was not asked with it. */
const OPEN = new Set(['live', 'ready', 'refused'])

/** For operators and those who watch for them; entries of the log say who asked from where. */
const ADMIN = new Set(['metrics', 'log-checkpoint', 'log-tile', 'log-entries'])
/** What only operators may do, and nobody where no admin token is set. */
const CHANGES = new Set(['vouch', 'revocation'])

/** Takes the credential off the request, also where node keeps the headers as they came. */
const strip = ({ req }: Context) => {
  delete req.headers.authorization
  for (let i = req.rawHeaders.length - 2; i >= 0; i -= 2)
    if (req.rawHeaders[i]?.toLowerCase() === 'authorization') req.rawHeaders.splice(i, 2)
}

export const openEntrance = (options: EntranceOptions) => {
  const { gate, access, trustedProxies = [] } = options
  const views = new Set(options.views)
  const prefix = new URL(gate.publicUrl).pathname
  const proxies = openProxies(trustedProxies)

  /** A caller bound to a view has that one wherever it asks; anybody else the one of the path. */
  const gateFor = (caller: Caller, asked: string | undefined): Gate => {
    const bound = caller.kind === 'anonymous' ? undefined : caller.view
    if (bound !== undefined && asked !== undefined && bound !== asked)
      throw new AttestryError(
        'EUNAUTHORIZED',
        `This token is for the view ${bound}, not ${asked}.`,
      )
    const view = bound ?? asked
    if (view === undefined) return gate
    if (!views.has(view))
      throw new AttestryError(
        'EUNAUTHORIZED',
        `This token is for the view ${view}, which is gone.`,
      )
    const { publicUrl } = gate
    return gate.view(view, asked === undefined ? publicUrl : `${publicUrl}${viewPath(view)}`)
  }

  const identify = async (ctx: Context, kind: string): Promise<Caller> => {
    if (!access || OPEN.has(kind)) {
      if (CHANGES.has(kind)) throw new AttestryError('EUNAUTHORIZED', 'Nobody may change this.')
      return anonymous
    }
    const { authorization } = ctx.req.headers
    if (ADMIN.has(kind) || CHANGES.has(kind)) {
      access.checkAdmin(authorization, kind === 'log-entries' || CHANGES.has(kind))
      strip(ctx)
      return anonymous
    }
    const { caller, ours } = await access.identify(authorization)
    if (ours) strip(ctx)
    return caller
  }

  return {
    placeOf: (target: string): Place => placeOf(target, { prefix, views }),

    /** Notes who asks, before anything can fail. */
    note: (ctx: Context): void => {
      ctx.state['client'] = readClient(ctx.req, proxies)
    },

    /** The gate for this request. Throws EUNAUTHORIZED, or EISSUER. */
    admit: async (ctx: Context, kind: string, { view }: Place): Promise<Gate> => {
      // with or without a token: the same address may be answered by several views
      if (access && !OPEN.has(kind)) ctx.vary('authorization')
      const caller = await identify(ctx, kind)
      const client = ctx.state['client'] as Client
      const named: Client =
        caller.kind === 'anonymous' ? client : { ...client, name: caller.name }
      ctx.state['client'] = named
      ctx.state['caller'] = caller
      const chosen = gateFor(caller, view)
      const inView = caller.kind !== 'anonymous' ? (caller.view ?? view) : view
      if (inView !== undefined) ctx.state['client'] = { ...named, view: inView }
      return chosen
    },

    /** What was answered to a token is for nobody else: no shared cache may keep it. */
    leave: (ctx: Context): void => {
      const caller = ctx.state['caller'] as Caller | undefined
      const control = ctx.response.get('cache-control')
      if (caller !== undefined && caller.kind !== 'anonymous' && control.includes('public'))
        ctx.set('cache-control', control.replace('public', 'private'))
    },
  }
}
