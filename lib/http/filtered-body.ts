/**
 * A document that clients are sent has no version in it that policy hides. A client that changes it
 * and sends it back whole (pnpm star does; npm asks for `?write=true` first) would have the registry
 * take those versions for unpublished, so it is known again by what only such a document has: the
 * key `policyRestrictions`, and behind it one of our addresses.
 */
import { AttestryError } from '../errors.ts'

/** Within a text the quotes of the first would be escaped: a README cannot pass for it. */
const MARKS = ['"policyRestrictions"', '/-/attestry/why/'].map(mark => Buffer.from(mark))

/** To be shown a body piece by piece; true once it is one of ours. */
export const openRecognizer = (): ((chunk: Buffer) => boolean) => {
  let next = 0
  let rest: Buffer = Buffer.alloc(0)
  return chunk => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    for (let mark = MARKS[next]; mark !== undefined; mark = MARKS[next]) {
      const at = rest.indexOf(mark)
      if (at === -1) {
        // the next piece may go on with it
        rest = Buffer.from(rest.subarray(Math.max(0, rest.length - mark.length + 1)))
        return false
      }
      rest = rest.subarray(at + mark.length)
      next++
    }
    return true
  }
}

export const filteredError = (): AttestryError =>
  new AttestryError(
    'EFILTERED',
    'This document lacks versions that policy hides, and the registry would take them for unpublished.',
  )
