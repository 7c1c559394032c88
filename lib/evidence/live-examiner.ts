/**
 * An examiner whose trust can be replaced while it is in use: what was begun under the old trust
 * ends under it, and bears its digest; what is asked from then on is examined under the new one.
 */
import type { TrustMaterial } from '../types.ts'
import type { Examiner } from './examiner.ts'

export type LiveExaminer = Examiner & {
  /** Resolves when the new trust is in force; throws ETRUST, and the old one stays. */
  readonly replace: (trust: TrustMaterial) => Promise<void>
}

export const openLiveExaminer = async (
  open: (trust: TrustMaterial) => Promise<Examiner>,
  trust: TrustMaterial,
): Promise<LiveExaminer> => {
  /** How much is under way with each. */
  const underWay = new Map<Examiner, number>()
  const closing = new Set<Promise<void>>()
  let current = await open(trust)
  let closed = false

  const retire = (examiner: Examiner): void => {
    const ended = examiner.close().finally(() => closing.delete(ended))
    closing.add(ended)
  }

  const using = async <T>(work: (examiner: Examiner) => Promise<T>): Promise<T> => {
    const examiner = current
    underWay.set(examiner, (underWay.get(examiner) ?? 0) + 1)
    try {
      return await work(examiner)
    } finally {
      const left = (underWay.get(examiner) ?? 1) - 1
      underWay.set(examiner, left)
      if (left === 0) {
        underWay.delete(examiner)
        if (examiner !== current) retire(examiner)
      }
    }
  }

  return {
    get trust() {
      return current.trust
    },
    examine: request => using(examiner => examiner.examine(request)),
    vouches: request => using(examiner => examiner.vouches(request)),
    inspect: (tarball, claimed) => using(examiner => examiner.inspect(tarball, claimed)),
    replace: async next => {
      if (next.digest === current.trust) return
      const opened = await open(next)
      if (closed) return opened.close()
      const before = current
      current = opened
      if (!underWay.has(before)) retire(before)
    },
    close: async () => {
      closed = true
      for (const examiner of underWay.keys()) if (examiner !== current) retire(examiner)
      await Promise.all([current.close(), ...closing])
    },
  }
}
