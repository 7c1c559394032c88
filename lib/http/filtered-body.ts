/**
 * A document that clients are sent has no version in it that policy hides. A client that changes it
 * and sends it back whole (pnpm star does; npm asks for `?write=true` first) would have the registry
 * take those versions for unpublished, so it is known again by what only such a document has: the
 * key `policyRestrictions`, and behind it one of our addresses. The same goes for what observe mode
 * marks as deprecated, which the registry would tell everybody from then on.
 */
import { AttestryError } from '../errors.ts'

/** One after the other. Within a text quotes would be escaped: a README cannot pass for a key. */
const MARKS = [
  ['"policyRestrictions"', '/-/attestry/why/'],
  ['"deprecated"', 'Policy would refuse it. ', '/-/attestry/why/'],
].map(marks => marks.map(mark => Buffer.from(mark)))

/** To be shown a body piece by piece; true once all of the marks have come. */
const openSearch = (marks: readonly Buffer[]): ((chunk: Buffer) => boolean) => {
  let next = 0
  let rest: Buffer = Buffer.alloc(0)
  return chunk => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    for (let mark = marks[next]; mark !== undefined; mark = marks[next]) {
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

/** To be shown a body piece by piece; true once it is certainly made of one of our documents. */
export const openRecognizer = (): ((chunk: Buffer) => boolean) => {
  const searches = MARKS.map(openSearch)
  return chunk => searches.map(found => found(chunk)).includes(true)
}

export const filteredError = (): AttestryError =>
  new AttestryError(
    'EFILTERED',
    'This document is as policy shows it, and the registry would take what is left out for unpublished.',
  )
