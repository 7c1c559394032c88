/**
 * Merkle trees as RFC 6962 section 2.1 has them: what is hashed how, which hashes prove that an
 * entry is in a tree and that a tree is the beginning of another, and the check of both. Sizes are
 * whole numbers below 2^53.
 */
import { createHash } from 'node:crypto'

export const hashSize = 32

const leafPrefix = Buffer.of(0)
const nodePrefix = Buffer.of(1)

/** The hash of one entry: SHA-256 over 0x00 and its bytes (of a text, in UTF-8). */
export const leafHash = (entry: Uint8Array | string): Buffer =>
  createHash('sha256').update(leafPrefix).update(entry).digest()

export const nodeHash = (left: Uint8Array, right: Uint8Array): Buffer =>
  createHash('sha256').update(nodePrefix).update(left).update(right).digest()

export const emptyRoot: Buffer = createHash('sha256').digest()

/** The subtree of 2^`level` leaves that begins at leaf `index` × 2^`level`, whole. */
export type NodeReader = (level: number, index: number) => Uint8Array

/** Leaves from `start` up to and without `end`. */
export type LeafRange = readonly [start: number, end: number]

/** The largest power of two below `n`, for n from 2 up. */
const splitOf = (n: number): number => {
  let k = 1
  while (k * 2 < n) k *= 2
  return k
}

const levelOf = (length: number): number => Math.round(Math.log2(length))

/** MTH(D[start:end]) of RFC 6962, put together from whole subtrees. */
export const rangeHash = ([start, end]: LeafRange, node: NodeReader): Uint8Array => {
  const length = end - start
  const half = length < 2 ? 0 : splitOf(length)
  if (half * 2 === length || length === 1) return node(levelOf(length), start / length)
  return nodeHash(rangeHash([start, start + half], node), rangeHash([start + half, end], node))
}

/** The root hash of the first `size` leaves. */
export const rootHash = (size: number, node: NodeReader): Uint8Array =>
  size === 0 ? emptyRoot : rangeHash([0, size], node)

/** PATH(leaf, D[size]) of RFC 6962 2.1.1: the hashes to fetch, in order. */
export const inclusionRanges = (leaf: number, size: number): readonly LeafRange[] => {
  const path = (start: number, end: number): LeafRange[] => {
    if (end - start === 1) return []
    const middle = start + splitOf(end - start)
    return leaf < middle
      ? [...path(start, middle), [middle, end]]
      : [...path(middle, end), [start, middle]]
  }
  return leaf < size ? path(0, size) : []
}

/** PROOF(first, D[second]) of RFC 6962 2.1.2; empty for equal sizes and from the empty tree. */
export const consistencyRanges = (first: number, second: number): readonly LeafRange[] => {
  const proof = (start: number, end: number, whole: boolean): LeafRange[] => {
    if (first === end) return whole ? [] : [[start, end]]
    const middle = start + splitOf(end - start)
    return first <= middle
      ? [...proof(start, middle, whole), [middle, end]]
      : [...proof(middle, end, false), [start, middle]]
  }
  return first === 0 || first >= second ? [] : proof(0, second, true)
}

const isOdd = (n: number) => n % 2 === 1
const half = (n: number) => Math.floor(n / 2)
const same = (a: Uint8Array | undefined, b: Uint8Array): boolean =>
  a !== undefined && Buffer.compare(a, b) === 0

export type InclusionClaim = {
  readonly leaf: number
  readonly size: number
  /** Of the entry, by `leafHash`. */
  readonly hash: Uint8Array
  readonly root: Uint8Array
  readonly proof: readonly Uint8Array[]
}

/** RFC 9162 2.1.3.2: is the entry where it is said to be in the tree of this root? */
export const provesInclusion = ({ leaf, size, hash, root, proof }: InclusionClaim): boolean => {
  if (!(leaf < size) || leaf < 0 || proof.some(part => part.length !== hashSize)) return false
  let at = leaf
  let last = size - 1
  let computed = hash
  for (const part of proof) {
    if (last === 0) return false
    if (isOdd(at) || at === last) {
      computed = nodeHash(part, computed)
      while (!isOdd(at) && at !== 0) {
        at = half(at)
        last = half(last)
      }
    } else {
      computed = nodeHash(computed, part)
    }
    at = half(at)
    last = half(last)
  }
  return last === 0 && same(computed, root)
}

export type TreeHead = { readonly size: number; readonly root: Uint8Array }

/**
 * RFC 9162 2.1.4.2: is the tree of `first` the beginning of that of `second`? The empty tree is the
 * beginning of every other, which needs no proof.
 */
export const provesConsistency = (
  first: TreeHead,
  second: TreeHead,
  proof: readonly Uint8Array[],
): boolean => {
  if (first.size > second.size || proof.some(part => part.length !== hashSize)) return false
  if (first.size === 0) return proof.length === 0 && same(first.root, emptyRoot)
  if (first.size === second.size) return proof.length === 0 && same(first.root, second.root)
  const whole = splitOf(first.size * 2) === first.size
  const [start, ...rest] = whole ? [first.root, ...proof] : proof
  if (start === undefined || rest.length === 0) return false
  let at = first.size - 1
  let last = second.size - 1
  while (isOdd(at)) {
    at = half(at)
    last = half(last)
  }
  let older = start
  let newer = start
  for (const part of rest) {
    if (last === 0) return false
    if (isOdd(at) || at === last) {
      older = nodeHash(part, older)
      newer = nodeHash(part, newer)
      while (!isOdd(at) && at !== 0) {
        at = half(at)
        last = half(last)
      }
    } else {
      newer = nodeHash(newer, part)
    }
    at = half(at)
    last = half(last)
  }
  return last === 0 && same(older, first.root) && same(newer, second.root)
}
