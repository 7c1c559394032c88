/** An OIDC issuer on loopback: discovery document, keys that can be changed, tokens of any content. */
import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'

export type SigningKey = {
  readonly id: string
  readonly algorithm: 'RS256' | 'ES256'
  readonly privateKey: KeyObject
  readonly jwk: Readonly<Record<string, unknown>>
}

export const newKey = (
  id: string,
  algorithm: SigningKey['algorithm'],
  bits = 2048,
): SigningKey => {
  const { publicKey, privateKey } =
    algorithm === 'RS256'
      ? generateKeyPairSync('rsa', { modulusLength: bits })
      : generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: id, use: 'sig', alg: algorithm }
  return { id, algorithm, privateKey, jwk }
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A token signed with this key; `header` replaces fields of its header. */
export const tokenOf = (
  key: SigningKey,
  claims: Readonly<Record<string, unknown>>,
  header: Readonly<Record<string, unknown>> = {},
): string => {
  const text = `${encode({ alg: key.algorithm, kid: key.id, typ: 'JWT', ...header })}.${encode(claims)}`
  const signature = sign('sha256', Buffer.from(text), {
    key: key.privateKey,
    dsaEncoding: 'ieee-p1363',
  })
  return `${text}.${signature.toString('base64url')}`
}

export type TestIssuer = {
  readonly url: string
  keys: readonly SigningKey[]
  /** What the next requests are answered with instead; undefined for the truth. */
  fault: ((path: string) => { status: number; body: string } | 'silent' | undefined) | undefined
  readonly asked: string[]
  close(): Promise<void>
}

export const startIssuer = async (...keys: readonly SigningKey[]): Promise<TestIssuer> => {
  const asked: string[] = []
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    asked.push(path)
    const fault = issuer.fault?.(path)
    if (fault === 'silent') return
    const documents: Record<string, unknown> = {
      '/.well-known/openid-configuration': {
        issuer: issuer.url,
        jwks_uri: `${issuer.url}/keys`,
      },
      '/keys': { keys: issuer.keys.map(({ jwk }) => jwk) },
    }
    response.statusCode = fault?.status ?? (path in documents ? 200 : 404)
    response.end(fault?.body ?? JSON.stringify(documents[path] ?? {}))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  server.unref()
  const issuer: TestIssuer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    keys,
    fault: undefined,
    asked,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
  return issuer
}
