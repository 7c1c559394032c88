/** Keys in policies: a file of PEM, PEM written in place, or the key's own name. What counts is the name. */
import { messageOf } from '../errors.ts'
import { keyIdPattern, readPublicKey } from '../key-id.ts'
import type { Policy, ReadKey } from './policy.ts'

export type KeyRead = { readonly keyId: string } | { readonly complaint: string }

/** Undefined where it is a file and nobody reads files: such a key is nobody's. */
export const readKey = (text: string, read: ReadKey | undefined): KeyRead | undefined => {
  if (keyIdPattern.test(text)) return { keyId: text }
  try {
    if (text.includes('-----BEGIN')) return { keyId: readPublicKey(text).keyId }
    return read && { keyId: readPublicKey(read(text)).keyId }
  } catch (error) {
    return { complaint: messageOf(error) }
  }
}

/** Paths of key files that a policy names, as written. */
export const keyFilesOf = ({ identities, rules, defaults }: Policy): readonly string[] => {
  const inTerms = [...rules, defaults].flatMap(({ outcome }) =>
    outcome.kind === 'require'
      ? outcome.anyOf.flatMap(({ vouch = [], signature = [] }) => [...vouch, ...signature])
      : [],
  )
  const texts = [...Object.values(identities), ...inTerms].flatMap(({ key }) => key?.text ?? [])
  const files = texts.filter(text => !keyIdPattern.test(text) && !text.includes('-----BEGIN'))
  return [...new Set(files)]
}
