/** Taking vouches in and back: what comes from anywhere is verified here before it is kept. */
import { AttestryError, messageOf } from '../errors.ts'
import type { Examiner } from '../evidence/examiner.ts'
import { statementIn, type KeptVouch, type UnverifiedVouch } from '../evidence/vouch.ts'
import type { Fact, PackageId, Vouch } from '../types.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { Revocation, VouchRecords } from './vouch-records.ts'

export type Taken = {
  readonly package: PackageId
  readonly integrity: string
  readonly vouch: Extract<Fact<Vouch>, { readonly state: 'verified' }>
}

/** A vouch that is kept, verified over the bytes that it is about itself. */
export type Listed = {
  readonly package: PackageId
  readonly id: string
  readonly addedAt: string
  readonly fact: Fact<Vouch>
  readonly integrity?: string
  readonly revoked?: Revocation
}

export type Vouching = ReturnType<typeof openVouching>

export type VouchingOptions = {
  readonly records: VouchRecords
  readonly examinerFor: (upstream: string) => Examiner
  readonly upstreamFor: (name: string) => Upstream
  readonly now: () => Date
  readonly onChange: (name: string) => void
}

export const openVouching = (options: VouchingOptions) => {
  const { records, examinerFor, upstreamFor, now, onChange } = options

  const read = (bundle: unknown): UnverifiedVouch => {
    try {
      return statementIn(bundle)
    } catch (error) {
      throw new AttestryError('EVOUCH', messageOf(error), { cause: error })
    }
  }

  const verify = async (
    kept: KeptVouch,
    { package: id, integrity }: UnverifiedVouch,
  ): Promise<Fact<Vouch>> => {
    const examiner = examinerFor(upstreamFor(id.name).name)
    const [fact] = await examiner.vouches({ package: id, integrity, vouches: [kept] })
    if (fact === undefined) throw new Error('the examiner gave no fact')
    return fact
  }

  /** Throws EVOUCH unless it verifies, whoever signed, and is about `about` where that is given. */
  const verified = async (kept: KeptVouch, about?: PackageId): Promise<Taken> => {
    const said = read(kept.bundle)
    const { package: id, integrity } = said
    const text = `${id.name}@${id.version}`
    if (about && (about.name !== id.name || about.version !== id.version))
      throw new AttestryError(
        'EVOUCH',
        `The vouch is about ${text}, not ${about.name}@${about.version}.`,
      )
    const fact = await verify(kept, said)
    if (fact.state === 'verified') return { package: id, integrity, vouch: fact }
    const why = fact.detail ?? fact.state
    throw new AttestryError('EVOUCH', `The vouch for ${text} is ${fact.state}: ${why}`)
  }

  return {
    verified,

    /** Verifies and keeps; tells whether it was revoked before it came. Throws EVOUCH. */
    add: async (kept: KeptVouch, about?: PackageId): Promise<Taken> => {
      const taken = await verified(kept, about)
      const { package: id, vouch } = taken
      await records.add(id, kept, now())
      onChange(id.name)
      const { revocations } = await records.pageOf(id)
      const revoked = revocations.find(one => one.id === vouch.id)
      if (revoked === undefined) return taken
      const { reason, at } = revoked
      return { ...taken, vouch: { ...vouch, revoked: { reason, at } } }
    },

    /**
     * Takes back one vouch, or all that are kept for a version. Throws EVOUCH where there is none
     * that is not revoked already; with an `id` it is recorded even if its vouch is not here.
     */
    revoke: async (
      id: PackageId,
      {
        reason,
        by,
        vouch,
      }: { readonly reason: string; readonly by?: string; readonly vouch?: string },
    ): Promise<readonly Revocation[]> => {
      const { vouches } = await records.pageOf(id)
      const open = vouches.filter(one => one.revoked === undefined).map(one => one.id)
      const wanted = vouch === undefined ? [...new Set(open)] : [vouch]
      if (wanted.length === 0)
        throw new AttestryError(
          'EVOUCH',
          `There is no vouch for ${id.name}@${id.version} that could be revoked.`,
        )
      const at = now().toISOString()
      const made: Revocation[] = []
      for (const one of wanted)
        made.push(
          await records.revoke(id, { id: one, reason, ...(by !== undefined && { by }), at }),
        )
      onChange(id.name)
      return made
    },

    /** A revocation that was made elsewhere. */
    takeRevocation: async (id: PackageId, revocation: Revocation): Promise<void> => {
      await records.revoke(id, revocation)
      onChange(id.name)
    },

    /** All that are kept, of one package or of all. */
    list: async (name?: string): Promise<readonly Listed[]> => {
      const pages = await records.pages(name)
      const listed: Listed[] = []
      for (const { vouches } of pages.values()) {
        for (const { id, record, revoked } of vouches) {
          const said = read(record.bundle)
          const fact = await verify(record, said)
          listed.push({
            package: said.package,
            id,
            addedAt: record.addedAt,
            integrity: said.integrity,
            fact,
            ...(revoked && { revoked }),
          })
        }
      }
      return listed
    },
  }
}
