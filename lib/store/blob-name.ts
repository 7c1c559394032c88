import type { Integrity } from '../types.ts'
import { refusal } from './store-error.ts'

const shape = /^sha512-[A-Za-z0-9+/]{86}==$/

/**
 * The digest as 128 lower-case hex digits. Throws ESTORE unless `integrity` is exactly one sha512
 * digest in canonical base64: two spellings of one digest would be two blobs, and a name that is
 * not a digest must never become a path.
 */
export const hexOf = (integrity: string): string => {
  if (shape.test(integrity)) {
    const digest = Buffer.from(integrity.slice(7), 'base64')
    if (`sha512-${digest.toString('base64')}` === integrity) return digest.toString('hex')
  }
  throw refusal('A blob is named by one sha512 integrity (sha512-<base64>).', {
    found: integrity.slice(0, 120),
  })
}

export const integrityOf = (hex: string): Integrity =>
  `sha512-${Buffer.from(hex, 'hex').toString('base64')}`
