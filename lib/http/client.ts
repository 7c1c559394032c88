/** Who asks, as far as a request tells: never a token. */
import { BlockList, isIP, type Socket } from 'node:net'
import type { IncomingMessage } from 'node:http'
import type { Context } from 'koa'
import type { Client } from '../gate/gate.ts'

const MAX_AGENT = 200

const family = (address: string) => (isIP(address) === 6 ? 'ipv6' : 'ipv4')

/** IPv4 as IPv4, also where a socket listens for both (`::ffff:10.0.0.1`). */
const plain = (address: string) => address.replace(/^::ffff:(?=\d+\.)/i, '')

/** What X-Forwarded-For may hold: an address, some proxies add the port. */
const addressIn = (text: string): string | undefined => {
  const bare = /^\[([0-9a-f:.]+)\](?::\d+)?$/i.exec(text)?.[1] ?? text
  const address = plain(isIP(bare) === 0 ? bare.replace(/:\d+$/, '') : bare)
  return isIP(address) === 0 ? undefined : address
}

/** `address` or `address/bits`, as the settings have checked them. */
export type Proxies = { readonly trusts: (address: string) => boolean }

export const openProxies = (networks: readonly string[]): Proxies => {
  const list = new BlockList()
  for (const network of networks) {
    const [address = '', bits] = network.split('/')
    if (bits === undefined) list.addAddress(address, family(address))
    else list.addSubnet(address, Number(bits), family(address))
  }
  return { trusts: address => isIP(address) !== 0 && list.check(address, family(address)) }
}

/** An address is asked of the system, and a connection keeps its own; mostly its client, too. */
type Peer = { readonly address: string; agent?: string | undefined; client?: Client }
const peers = new WeakMap<Socket, Peer>()

const peerOf = (socket: Socket): Peer => {
  const known = peers.get(socket)
  if (known !== undefined) return known
  const { remoteAddress } = socket
  // closed: there is none any more
  if (remoteAddress === undefined) return { address: 'unknown' }
  const peer = { address: plain(remoteAddress) }
  peers.set(socket, peer)
  return peer
}

/**
 * The client's address. Only a trusted proxy's word is taken for whom it speaks, from the last to
 * the first: what stands before the first proxy that is not trusted, anybody may have written.
 */
const addressOf = (peer: string, header: string | string[], proxies: Proxies): string => {
  let address = peer
  const hops = (Array.isArray(header) ? header.join(',') : header).split(',')
  for (const hop of hops.toReversed()) {
    if (!proxies.trusts(address)) break
    const before = addressIn(hop.trim())
    if (before === undefined) break
    address = before
  }
  return address
}

const clientAt = (address: string, agent: string | undefined): Client => ({
  address,
  ...(agent && { agent: agent.slice(0, MAX_AGENT) }),
})

/** The same object for requests of one connection that say the same. */
export const readClient = ({ headers, socket }: IncomingMessage, proxies: Proxies): Client => {
  const { 'x-forwarded-for': forwarded, 'user-agent': agent } = headers
  const peer = peerOf(socket)
  if (forwarded !== undefined)
    return clientAt(addressOf(peer.address, forwarded, proxies), agent)
  if (peer.client !== undefined && peer.agent === agent) return peer.client
  peer.agent = agent
  return (peer.client = clientAt(peer.address, agent))
}

/** As the entrance found it. */
export const clientOf = (ctx: Context): Client =>
  (ctx.state as { client?: Client }).client ?? readClient(ctx.req, openProxies([]))
