/**
 * The encrypted private keys of `cosign generate-key-pair`: JSON inside PEM, scrypt over the
 * password, NaCl secretbox over the key (go-securesystemslib, package encrypted).
 */
import { scryptSync } from 'node:crypto'
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js'
import { z } from 'zod'

const sealed = z.object({
  kdf: z.object({
    name: z.literal('scrypt'),
    // cosign writes 32768 or 65536; the file may come from anywhere, and memory is 128 N r bytes
    params: z.object({
      N: z.int().min(2).max(1048576),
      r: z.int().min(1).max(16),
      p: z.int().min(1).max(4),
    }),
    salt: z.base64(),
  }),
  cipher: z.object({ name: z.literal('nacl/secretbox'), nonce: z.base64() }),
  ciphertext: z.base64(),
})

const KEY_BYTES = 32

/** PKCS#8, DER. Throws when it is not that format or the password is another. */
export const openCosignKey = (json: Buffer, password: string): Buffer => {
  const { kdf, cipher, ciphertext } = sealed.parse(JSON.parse(json.toString('utf8')))
  const { N, r, p } = kdf.params
  const key = scryptSync(password, Buffer.from(kdf.salt, 'base64'), KEY_BYTES, {
    N,
    r,
    p,
    maxmem: 256 * N * r,
  })
  const box = xsalsa20poly1305(key, Buffer.from(cipher.nonce, 'base64'))
  return Buffer.from(box.decrypt(Buffer.from(ciphertext, 'base64')))
}
