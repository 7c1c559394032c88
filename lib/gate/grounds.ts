/**
 * All that verdicts on a package rest on but the time, as one digest: policies, trust, the revision
 * and its sightings, every fact, and the program that judges. A verdict that is kept counts only
 * where this comes to the same; what somebody vouched for has none, and is judged each time.
 */
import { hash } from 'node:crypto'
import { policyDigest } from '../policy/digest.ts'
import type { Policy } from '../policy/policy.ts'
import type { Evidence } from '../types.ts'
import type { EvidenceBook } from './evidence-book.ts'
import type { PackageHead } from './package-index.ts'
import type { VouchBook } from './vouch-book.ts'

export type GroundsOptions = {
  /** This program; another one, or the same with other code, may judge otherwise. */
  readonly maker: string
  readonly policies: () => readonly Policy[]
  readonly book: Pick<EvidenceBook, 'digest'>
  readonly vouches: Pick<VouchBook, 'any'>
  /** Digest of the trust material that counts for an upstream. */
  readonly trustOf: (upstream: string) => string
}

/**
 * sha256, base64url. Asked before and after judging: where both are the same, they are those of the
 * verdict. `holding`: undefined where these are not what is remembered of their version.
 */
export type Grounds = (head: PackageHead, holding?: Evidence) => Promise<string | undefined>

export const openGrounds =
  ({ maker, policies, book, vouches, trustOf }: GroundsOptions): Grounds =>
  async (head, holding) => {
    if (await vouches.any(head.name)) return undefined
    const facts = await book.digest(head.name, holding)
    if (facts === undefined) return undefined
    const { name, upstream, raw, lookedAt, appeared } = head
    const all = [maker, policyDigest(policies()), trustOf(upstream), facts]
    const text = JSON.stringify([...all, name, upstream, raw, lookedAt, appeared])
    return hash('sha256', text, 'base64url')
  }
