/**
 * Verdicts in the store, for the other processes on it and the next start: a package that is kept
 * here with its grounds is neither read nor judged again where they come to the same. Only what
 * nothing speaks against is kept; whatever else is found in a record is as if there were none.
 */
import type { Records } from '../store/store.ts'
import type { PackageId, Verdict } from '../types.ts'
import type { Behind } from './behind.ts'
import { record } from './claims.ts'
import { has, idOf } from './evidence-facts.ts'
import type { Grounds } from './grounds.ts'
import type { PackageHead } from './package-index.ts'
import type { Pin } from './pins.ts'
import { aheadOf, type Outcome, type Standing } from './standing.ts'

/** Kept in the collection `standing` by view, address and name: no version is refused or observed. */
type KeptStanding = {
  readonly grounds: string
  /** Milliseconds since the epoch; null where time alone changes nothing. */
  readonly changesAt: number | null
}

/** Kept in the collection `admission` by view, address, name and version. */
type KeptAdmission = { readonly grounds: string; readonly verdict: Verdict }

export type KeptVerdicts = ReturnType<typeof openKeptVerdicts>

/** Nothing speaks against it, and everything that is claimed was looked at. */
const isPlain = ({ decision, reasons, layers }: Verdict): boolean =>
  decision === 'allow' &&
  reasons.length === 0 &&
  layers.every(layer => layer.reasons.length === 0)

const isLayer = (value: unknown): boolean => {
  const { policy, rule, mode, reasons } = record(value)
  return (
    typeof policy === 'string' &&
    typeof rule === 'string' &&
    (mode === 'enforce' || mode === 'observe') &&
    Array.isArray(reasons)
  )
}

/** When time alone changes it, in milliseconds since the epoch; NaN where that cannot be told. */
const endOf = (changesAt: unknown): number => {
  if (changesAt === undefined) return Number.POSITIVE_INFINITY
  return typeof changesAt === 'string' ? Date.parse(changesAt) : Number.NaN
}

const verdictIn = (value: unknown, id: PackageId, pin: Pin): Verdict | undefined => {
  const { package: about, integrity, reasons, layers, policyDigest } = record(value)
  const { name, version } = record(about)
  const whole =
    name === id.name &&
    version === id.version &&
    integrity === pin.integrity &&
    typeof policyDigest === 'string' &&
    Array.isArray(reasons) &&
    Array.isArray(layers) &&
    layers.length > 0 &&
    layers.every(isLayer)
  if (!whole) return undefined
  const verdict = value as Verdict
  return isPlain(verdict) ? verdict : undefined
}

export const openKeptVerdicts = (options: {
  readonly records: Pick<Records, 'get' | 'put'>
  readonly grounds: Grounds
  readonly behind: Behind
  readonly now: () => Date
  /** Of the view and the address. */
  readonly key: string
}) => {
  const { records, grounds, behind, key } = options
  const now = () => options.now().getTime()
  const kept = new WeakSet<Standing>()

  return {
    grounds,

    /** What was made of the package, where it still holds. */
    standing: async (head: PackageHead): Promise<Outcome | undefined> => {
      const found = await records.get<KeptStanding>('standing', `${key} ${head.name}`)
      const { grounds: rests, changesAt } = record(found)
      if (typeof rests !== 'string' || rests !== (await grounds(head))) return undefined
      const until = changesAt === null ? Number.POSITIVE_INFINITY : changesAt
      if (typeof until !== 'number' || !(now() < until)) return undefined
      return { refused: new Map(), observed: new Map(), changesAt: until }
    },

    /** False where it is not for keeping. */
    keepStanding: (standing: Standing, rests: string): boolean => {
      const { index, refused, observed, outdated, basis, changesAt } = standing
      const plain = refused.size === 0 && observed.size === 0 && !outdated
      // who finds it kept verifies nothing ahead, nor looks again at what was found invalid
      const looked =
        basis &&
        aheadOf(standing).every(({ version }) => {
          const known = basis.known.get(version)
          return known !== undefined && !has(known.evidence, 'invalid')
        })
      if (!plain || !looked) return false
      if (kept.has(standing)) return true
      const value: KeptStanding = {
        grounds: rests,
        changesAt: changesAt === Number.POSITIVE_INFINITY ? null : changesAt,
      }
      const at = `${key} ${index.name}`
      const added = behind.add(`keep ${at}`, async () => {
        const before = await records.get<KeptStanding>('standing', at)
        // another process was here before
        if (record(before)['grounds'] === rests) return
        // after a loss of power it is judged anew
        await records.put('standing', at, value, { lasting: false })
      })
      if (added) kept.add(standing)
      return added
    },

    /** The allow of a version whose bytes are those of `pin`, where it still holds. */
    admission: async (
      id: PackageId,
      head: PackageHead,
      pin: Pin,
    ): Promise<Verdict | undefined> => {
      const found = await records.get<KeptAdmission>('admission', `${key} ${idOf(id)}`)
      const { grounds: rests, verdict: said } = record(found)
      const verdict = verdictIn(said, id, pin)
      if (!verdict || !(now() < endOf(verdict.changesAt))) return undefined
      return typeof rests === 'string' && rests === (await grounds(head)) ? verdict : undefined
    },

    keepAdmission: (id: PackageId, verdict: Verdict, rests: string): void => {
      if (!isPlain(verdict)) return
      const value: KeptAdmission = { grounds: rests, verdict }
      const at = `${key} ${idOf(id)}`
      behind.add(`keep ${at}`, () => records.put('admission', at, value))
    },
  }
}
