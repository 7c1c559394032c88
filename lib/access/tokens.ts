/**
 * Bearer tokens that we make ourselves. The store knows only the sha256 of each: 256 random bits
 * need no slow hash, and finding a record by the hash compares nothing that an attacker could time.
 */
import { createHash, randomBytes } from 'node:crypto'
import { AttestryError } from '../errors.ts'
import type { Records } from '../store/store.ts'

/** Kept in the collection `token` under the sha256, hex, of the token. */
export type TokenRecord = {
  readonly name: string
  readonly view?: string
  /** ISO 8601. */
  readonly createdAt: string
  readonly expiresAt?: string
}

export const tokenPrefix = 'attestry_'
const COLLECTION = 'token'
const TOKEN = /^attestry_[A-Za-z0-9_-]{43}$/
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/

const keyOf = (token: string) => createHash('sha256').update(token).digest('hex')

export type NewToken = { readonly token: string; readonly record: TokenRecord }

export type Tokens = ReturnType<typeof openTokens>

export const openTokens = (records: Records, now: () => Date) => {
  async function* all(): AsyncIterable<readonly [string, TokenRecord]> {
    yield* records.list<TokenRecord>(COLLECTION)
  }

  const ended = ({ expiresAt }: TokenRecord) =>
    expiresAt !== undefined && Date.parse(expiresAt) <= now().getTime()

  return {
    /** The only time the token itself is told. Throws EUSAGE when the name is taken or unusable. */
    create: async (options: {
      readonly name: string
      readonly view?: string
      /** Milliseconds from now. */
      readonly lifetime?: number
    }): Promise<NewToken> => {
      const { name, view, lifetime } = options
      if (!NAME.test(name)) {
        const message = `a token's name has 1 to 64 of A to Z, a to z, 0 to 9 and . _ @ -; found ${JSON.stringify(name)}`
        throw new AttestryError('EUSAGE', message)
      }
      for await (const [, record] of all()) {
        if (record.name === name)
          throw new AttestryError('EUSAGE', `there is a token ${name} already; revoke it first`)
      }
      const token = `${tokenPrefix}${randomBytes(32).toString('base64url')}`
      const at = now().getTime()
      const record: TokenRecord = {
        name,
        ...(view !== undefined && { view }),
        createdAt: new Date(at).toISOString(),
        ...(lifetime !== undefined && { expiresAt: new Date(at + lifetime).toISOString() }),
      }
      await records.put(COLLECTION, keyOf(token), record)
      return { token, record }
    },

    list: async (): Promise<readonly (TokenRecord & { readonly ended: boolean })[]> => {
      const found: (TokenRecord & { ended: boolean })[] = []
      for await (const [, record] of all()) found.push({ ...record, ended: ended(record) })
      return found.toSorted((a, b) => (a.name < b.name ? -1 : 1))
    },

    /** Takes effect at the next request. False when there is no such token. */
    revoke: async (name: string): Promise<boolean> => {
      let revoked = false
      for await (const [key, record] of all()) {
        if (record.name === name) revoked = (await records.delete(COLLECTION, key)) || revoked
      }
      return revoked
    },

    find: async (token: string): Promise<TokenRecord | undefined> => {
      if (!TOKEN.test(token)) return undefined
      const record = await records.get<TokenRecord>(COLLECTION, keyOf(token))
      return record && !ended(record) ? record : undefined
    },
  }
}
