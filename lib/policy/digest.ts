/** One name for all policies in force, so that a stored verdict knows which ones it came from. */
import { createHash } from 'node:crypto'
import { inForce } from './baseline.ts'
import type { PolicyDigest } from './policy.ts'

/** Where something stands in a file says nothing about what it means. */
const positional = new Set(['line', 'file'])

const canonical = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(canonical)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !positional.has(key))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, canonical(inner)]),
  )
}

const remembered = new WeakMap<readonly object[], string>()

/** sha256, hex, over what the policies say in their order; comments and layout do not count. */
export const policyDigest: PolicyDigest = policies => {
  const known = remembered.get(policies)
  if (known !== undefined) return known
  const text = JSON.stringify(inForce(policies).map(canonical))
  const digest = createHash('sha256').update(text).digest('hex')
  remembered.set(policies, digest)
  return digest
}
