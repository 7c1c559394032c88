/** What kind of network an address belongs to, and name look-up that refuses the wrong kind. */
import { lookup as dnsLookup, type LookupAddress } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { AttestryError } from '../errors.ts'

export type AddressKind = 'public' | 'loopback' | 'link-local' | 'private' | 'reserved'

type Network = readonly [address: string, prefix: number]

const listOf = (v4: readonly Network[], v6: readonly Network[]): BlockList => {
  const list = new BlockList()
  for (const [address, prefix] of v4) list.addSubnet(address, prefix, 'ipv4')
  for (const [address, prefix] of v6) list.addSubnet(address, prefix, 'ipv6')
  return list
}

// IANA special-purpose registries (RFC 6890 and its updates); link-local holds the clouds' metadata
const kinds: readonly (readonly [AddressKind, BlockList])[] = [
  ['loopback', listOf([['127.0.0.0', 8]], [['::1', 128]])],
  ['link-local', listOf([['169.254.0.0', 16]], [['fe80::', 10]])],
  [
    'private',
    listOf(
      [
        ['10.0.0.0', 8],
        ['172.16.0.0', 12],
        ['192.168.0.0', 16],
        ['100.64.0.0', 10],
      ],
      [
        ['fc00::', 7],
        ['fec0::', 10],
        ['64:ff9b:1::', 48],
      ],
    ),
  ],
  [
    'reserved',
    listOf(
      [
        ['0.0.0.0', 8],
        ['192.0.0.0', 24],
        ['192.0.2.0', 24],
        ['198.18.0.0', 15],
        ['198.51.100.0', 24],
        ['203.0.113.0', 24],
        ['224.0.0.0', 4],
        ['240.0.0.0', 4],
      ],
      [
        ['::', 128],
        ['100::', 64],
        ['2001:db8::', 32],
        ['ff00::', 8],
      ],
    ),
  ],
]

/** An IPv4 address inside an IPv6 one: mapped (::ffff:0:0/96), NAT64 (64:ff9b::/96) or 6to4 (2002::/16). */
const embedded = (address: string): string | undefined => {
  const hostname = new URL(`http://[${address.replace(/%.*$/, '')}]/`).hostname.slice(1, -1)
  const [head = '', tail = ''] = hostname.split('::')
  const parts = (text: string) => (text === '' ? [] : text.split(':'))
  const [left, right] = [parts(head), parts(tail)]
  const zeros = hostname.includes('::') ? 8 - left.length - right.length : 0
  const groups = [...left, ...Array.from({ length: zeros }, () => '0'), ...right].map(group =>
    Number.parseInt(group, 16),
  )
  const dotted = (high = 0, low = 0) => [high >> 8, high & 255, low >> 8, low & 255].join('.')
  const start = groups
    .slice(0, 6)
    .map(group => group.toString(16))
    .join(':')
  if (start === '0:0:0:0:0:ffff' || start === '64:ff9b:0:0:0:0')
    return dotted(groups[6], groups[7])
  return groups[0] === 0x2002 ? dotted(groups[1], groups[2]) : undefined
}

/** `address` is an IP address without brackets. */
export const addressKind = (address: string): AddressKind => {
  const inner = isIP(address) === 6 ? embedded(address) : undefined
  if (inner !== undefined) return addressKind(inner)
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
  return (
    kinds.find(([, list]) => list.check(address.replace(/%.*$/, ''), family))?.[0] ?? 'public'
  )
}

/** The host of a URL as net and dns want it: without the brackets of IPv6. */
export const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '')

const resolve = (host: string) =>
  new Promise<LookupAddress[]>((done, fail) =>
    dnsLookup(host, { all: true }, (error, addresses) =>
      error ? fail(error) : done(addresses),
    ),
  )

/** The kinds of the addresses a host has; one that cannot be resolved has none. */
export const kindsOf = async (host: string): Promise<ReadonlySet<AddressKind>> => {
  if (isIP(host)) return new Set([addressKind(host)])
  const addresses = await resolve(host).catch(() => [])
  return new Set(addresses.map(({ address }) => addressKind(address)))
}

export const addressError = (host: string, address: string): AttestryError =>
  new AttestryError(
    'EUPSTREAMDATA',
    `a redirect leads to ${host}, whose address ${address} is ${addressKind(address)}`,
    { details: { host, address } },
  )

/**
 * A look-up for sockets that fails when any address of the name is of a kind not allowed: the check
 * and the connection use the same answer, so a name cannot change between them.
 */
export const guardedLookup =
  (allowed: () => ReadonlySet<AddressKind>): LookupFunction =>
  (host, options, callback) => {
    dnsLookup(host, { ...options, all: true }, (error, addresses) => {
      const bad = addresses?.find(({ address }) => !allowed().has(addressKind(address)))
      const first = addresses?.[0]
      if (error) callback(error, '')
      else if (bad) callback(addressError(host, bad.address), '')
      else if (options.all) callback(null, addresses)
      else callback(null, first?.address ?? '', first?.family)
    })
  }
