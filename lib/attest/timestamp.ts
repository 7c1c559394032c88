/** RFC 3161 timestamps over a signature, from any authority that speaks the RFC's own protocol. */
import { createHash } from 'node:crypto'
import { RFC3161Timestamp } from '@sigstore/core'
import { AttestryError, messageOf } from '../errors.ts'
import { askService, checkServiceUrl, type ServiceLimits } from './service.ts'

const service = 'the timestamp authority'

/**
 * TimeStampReq (RFC 3161, 2.4.1): version 1, SHA-256 of the signature, certificates wanted. No
 * nonce: a signature is new each time, so that no old answer fits it. All lengths are under 128.
 */
export const timestampRequest = (signature: Uint8Array): Buffer => {
  const digest = createHash('sha256').update(signature).digest()
  const sha256 = Buffer.from('300d06096086480165030402010500', 'hex')
  const imprint = Buffer.concat([
    Buffer.from([0x30, sha256.length + 2 + digest.length]),
    sha256,
    Buffer.from([0x04, digest.length]),
    digest,
  ])
  const version = Buffer.from([0x02, 1, 1])
  const certificates = Buffer.from([0x01, 1, 0xff])
  const body = Buffer.concat([version, imprint, certificates])
  return Buffer.concat([Buffer.from([0x30, body.length]), body])
}

/** sigstore's authorities lie under this path; every other address is taken as it is. */
const addressOf = (url: string): string => {
  const parsed = checkServiceUrl(service, url)
  return parsed.pathname === '/' ? new URL('/api/v1/timestamp', parsed).href : parsed.href
}

/** The TimeStampResp, DER. Throws ESIGNSERVICE when it is none, or over something else. */
export const timestamp = async (
  url: string,
  signature: Uint8Array,
  limits: ServiceLimits,
): Promise<Buffer> => {
  const { body } = await askService(
    {
      service,
      url: addressOf(url),
      headers: {
        'content-type': 'application/timestamp-query',
        accept: 'application/timestamp-reply',
      },
      body: timestampRequest(signature),
    },
    limits,
  )
  const fail = (what: string, cause?: unknown) =>
    new AttestryError('ESIGNSERVICE', `${service}: ${what}`, { cause })
  const digest = createHash('sha256').update(signature).digest()
  const read = () => {
    try {
      const stamp = RFC3161Timestamp.parse(Buffer.from(body))
      const { status } = stamp
      const granted = status === 0n || status === 1n
      return {
        status,
        imprint: granted ? stamp.tstInfo.messageImprintHashedMessage : undefined,
      }
    } catch (error) {
      throw fail(`its answer cannot be read: ${messageOf(error)}`, error)
    }
  }
  const { status, imprint } = read()
  if (imprint === undefined) throw fail(`it refused: status ${status}`)
  if (!imprint.equals(digest)) throw fail('its timestamp is over something else')
  return body
}
