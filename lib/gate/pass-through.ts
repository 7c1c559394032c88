/**
 * Requests that are the upstream's to answer: search, login, publish and the like. Which upstream,
 * whether the settings let it through, and with whose credentials is decided here.
 */
import { AttestryError } from '../errors.ts'
import type { ForwardAnswer, ForwardRequest, Upstream } from '../upstream/upstream.ts'
import type { Publishing } from './publishing.ts'
import type { Routing } from './routing.ts'

/** Bytes, as in the settings. */
export type PassLimits = {
  readonly packument: number
  /** Of lists to ask advisories for, and of what is answered. */
  readonly audit: number
  readonly publish: number
}

/** Where nothing is configured; the same as the settings' defaults. */
export const defaultPassLimits: PassLimits = {
  packument: 128 * 1024 * 1024,
  audit: 32 * 1024 * 1024,
  publish: 512 * 1024 * 1024,
}

/** Whose request it is: of the upstream that has the package, the scope, or the accounts. */
export type Owner =
  | { readonly kind: 'package'; readonly name: string }
  | { readonly kind: 'scope'; readonly scope: string }
  | { readonly kind: 'account'; readonly scope?: string }
  /** Named by an answer of ours (`doneUrl`). */
  | { readonly kind: 'upstream'; readonly name: string }

export type Sender = {
  /** What the client sent, less what was meant for us. */
  readonly authorization?: string
  readonly otp?: string
}

export type PassRequest = Pick<
  ForwardRequest,
  'method' | 'path' | 'headers' | 'body' | 'signal'
> & {
  readonly access: 'read' | 'write'
  readonly owner: Owner
  readonly sender: Sender
  /** The package it changes. */
  readonly changes?: string
  /** A version of this package may be in the body. */
  readonly publishes?: string
  /** Which limit holds for the answer; default `audit`. */
  readonly limit?: keyof PassLimits
}

export type Passed = ForwardAnswer & {
  readonly upstream: Pick<Upstream, 'name' | 'url'>
  /** The client sent credentials, and they were not passed on. */
  readonly withheld: boolean
  /** What was published and is not signed by us although it was to be: why, in one sentence. */
  readonly unsigned?: string
}

export type PassThroughOptions = {
  readonly routing: Routing
  readonly limits: PassLimits
  /** Something may have changed at the upstream. */
  readonly onChange: (name: string) => void
  /** Reads along while somebody publishes. */
  readonly publishing?: Publishing
}

export type PassThrough = ReturnType<typeof openPassThrough>

export const openPassThrough = (options: PassThroughOptions) => {
  const { routing, limits, onChange, publishing } = options

  const nobody = (): never => {
    const [first] = routing.all()
    const key = `upstreams.${first?.name ?? 'npm'}.clientCredentials`
    const message = `Nobody logs in through this server: ${key} is never.`
    throw new AttestryError('ECREDENTIALS', message, { details: { key } })
  }

  const upstreamOf = (owner: Owner): Upstream => {
    switch (owner.kind) {
      case 'package':
        return routing.upstreamFor(owner.name)
      case 'scope':
        return routing.upstreamForScope(owner.scope)
      case 'account':
        return routing.accounts(owner.scope) ?? nobody()
      case 'upstream': {
        const named = routing.named(owner.name)
        if (named) return named
        throw new AttestryError('ENOTFOUND', `There is no upstream ${owner.name}.`)
      }
    }
  }

  /** Throws EMETHOD, or ECREDENTIALS, naming the key that would let it through. */
  const check = ({ access, method, owner }: PassRequest, { name }: Upstream): void => {
    const { passThrough, clientCredentials } = routing.termsOf(name)
    if (passThrough === 'off' || (access === 'write' && passThrough === 'read')) {
      const key = `upstreams.${name}.passThrough`
      const message = `${method} at this address is for the upstream ${name}, and ${key} is ${passThrough}; it would have to be ${access}.`
      throw new AttestryError('EMETHOD', message, { details: { key } })
    }
    // logging in is itself a credential, wherever in the request it stands
    const login = owner.kind === 'account' || owner.kind === 'upstream'
    if (!login || clientCredentials === 'forward') return
    const key = `upstreams.${name}.clientCredentials`
    const message = `Nobody logs in to the upstream ${name} through this server: ${key} is never.`
    throw new AttestryError('ECREDENTIALS', message, { details: { key } })
  }

  return {
    limits,

    /** Would it be let through? */
    allows: (request: Pick<PassRequest, 'access' | 'method' | 'owner'>): boolean => {
      try {
        check(request as PassRequest, upstreamOf(request.owner))
        return true
      } catch (error) {
        if (error instanceof AttestryError && error.code !== 'ECONFIG') return false
        throw error
      }
    },

    /** Throws EMETHOD or ECREDENTIALS where the settings do not let it through. */
    pass: async (request: PassRequest): Promise<Passed> => {
      const { method, path, headers, signal, sender, changes, limit = 'audit' } = request
      const upstream = upstreamOf(request.owner)
      check(request, upstream)
      const { name, url } = upstream
      const forwards = routing.termsOf(name).clientCredentials === 'forward'
      const sent = sender.authorization !== undefined || sender.otp !== undefined
      const changed = () => {
        if (changes !== undefined) onChange(changes)
      }
      const watch = publishing?.watch(name, request)
      const body = watch?.body ?? request.body
      try {
        const answer = await upstream.forward({
          method,
          path,
          // our own would make a client's request ours
          credentials: forwards ? sender : 'none',
          limit: { bytes: limits[limit], key: `limits.${limit}` },
          ...(headers && { headers }),
          ...(body && { body }),
          ...(signal && { signal }),
          ...(request.access === 'write' && method !== 'GET' && { slow: true }),
        })
        const published = answer.status < 300 ? watch : undefined
        const unsigned = await published?.taken()
        if (answer.status < 400 || answer.status >= 500) changed()
        await published?.signed()
        return {
          ...answer,
          upstream: { name, url },
          withheld: sent && !forwards,
          ...(unsigned !== undefined && { unsigned }),
        }
      } catch (error) {
        // it may have arrived all the same
        changed()
        throw error
      }
    },
  }
}
