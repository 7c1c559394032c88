/**
 * `attestry store import`: the archive takes the place of the upstreams, and every version in it is
 * admitted by the gate: bytes hashed, evidence examined under this site's trust, judged by this
 * site's policies, recorded. What would be refused to a client stays out.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { resolve } from 'node:path'
import { AttestryError, isAttestryError } from '../../errors.ts'
import type { Gate } from '../../gate/gate.ts'
import { reasonsText } from '../../gate/reasons.ts'
import { openRooms, type Rooms } from '../../rooms.ts'
import type { PackageId } from '../../types.ts'
import { helpText, parseArguments } from '../arguments.ts'
import { withProgress } from '../audit/progress.ts'
import type { Io, Run } from '../io.ts'
import { sessionJack, sessionSettings } from '../session.ts'
import { jsonText } from '../store-session.ts'
import { archiveUpstream } from './archive-upstream.ts'
import { openArchive, type Archive } from './read-archive.ts'

const AT_ONCE = 4

type Outcome = {
  readonly id: string
  readonly outcome: 'admitted' | 'refused' | 'failed'
  readonly why?: string
}

/** Newer than what is here: an old archive must not take back what has been learnt since. */
const offersOf = async ({ contents }: Archive, { records }: Rooms['store'], now: number) => {
  const offered = new Map<string, { upstream: string; fetchedAt: number }>()
  for (const { name, upstream, fetchedAt } of contents.packages) {
    const here = await records.get<{ readonly fetchedAt: number }>('package', name)
    if ((here?.fetchedAt ?? -1) < fetchedAt)
      offered.set(name, { upstream, fetchedAt: Math.min(fetchedAt, now) })
  }
  return offered
}

const failure = (id: string, error: unknown): Outcome => {
  // a defect, or a store that is full: the rest would fare no better
  if (!isAttestryError(error) || error.code === 'ESTORE') throw error
  return { id, outcome: 'failed', why: `${error.code} ${error.message}` }
}

const takePackument = async (gate: Gate, name: string): Promise<Outcome | undefined> => {
  try {
    await gate.distTags(name)
    return undefined
  } catch (error) {
    return failure(name, error)
  }
}

const takeTarball = async (gate: Gate, id: PackageId): Promise<Outcome> => {
  const text = `${id.name}@${id.version}`
  try {
    const { verdict, blob } = await gate.tarball(id, {
      address: 'local',
      agent: 'attestry store import',
    })
    if (blob) return { id: text, outcome: 'admitted' }
    const outcome = verdict.decision === 'refuse' ? 'refused' : 'failed'
    return { id: text, outcome, why: reasonsText(verdict) }
  } catch (error) {
    return failure(text, error)
  }
}

/** Verified again under the trust of this site; what was taken back elsewhere is taken back here. */
const takeVouches = async (
  { vouching }: Gate,
  archive: Archive,
  id: PackageId,
): Promise<readonly Outcome[]> => {
  const { vouches, revocations } = await archive.vouches(id)
  const outcomes: Outcome[] = []
  const taking = async (what: string, work: () => Promise<unknown>) => {
    try {
      await work()
    } catch (error) {
      outcomes.push({ ...failure(what, error), outcome: 'refused' })
    }
  }
  const text = `${id.name}@${id.version}`
  for (const { by, ...rest } of revocations) {
    const revocation = { ...rest, ...(by !== undefined && { by }) }
    await taking(`a revocation for ${text}`, () => vouching.takeRevocation(id, revocation))
  }
  for (const { bundle, publicKey } of vouches) {
    const kept = { bundle, ...(publicKey !== undefined && { publicKey }) }
    await taking(`a vouch for ${text}`, () => vouching.add(kept, id))
  }
  return outcomes
}

/** `work` on each, a few at a time. */
const eachOf = async <T>(items: readonly T[], work: (item: T) => Promise<void>) => {
  const queue = items.values()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const item of queue) await work(item)
    }),
  )
}

const report = (io: Io, json: boolean, outcomes: readonly Outcome[], ignored: number) => {
  const count = (wanted: Outcome['outcome']) =>
    outcomes.filter(({ outcome }) => outcome === wanted).length
  const sum = {
    admitted: count('admitted'),
    refused: count('refused'),
    failed: count('failed'),
  }
  const told = outcomes.filter(({ outcome }) => outcome !== 'admitted')
  if (json) io.stdout.write(jsonText({ ...sum, ignored, notAdmitted: told }))
  else {
    for (const { id, outcome, why } of told)
      io.stdout.write(`${id}: ${outcome}: ${why ?? ''}\n`)
    const odd = ignored > 0 ? `; ${ignored} entries ignored` : ''
    io.stdout.write(
      `${sum.admitted} admitted, ${sum.refused} refused, ${sum.failed} failed${odd}.\n`,
    )
  }
  return sum.failed > 0 ? 2 : sum.refused > 0 ? 1 : 0
}

export const importStore: Run = async (args, io) => {
  const command = sessionJack(
    'attestry store import FILE [options]',
    'Take packages from an archive of `attestry store export`. Each is verified and judged again.',
  ).flag({ json: { description: 'Print JSON.' } })
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const [name, ...more] = positionals
  if (name === undefined || more.length > 0)
    throw new AttestryError('EUSAGE', 'store import: wanted the name of one archive')
  const settings = await sessionSettings(values, io)
  const archive = await openArchive(resolve(io.cwd, name), settings.limits)
  const wanted = new AsyncLocalStorage<PackageId>()
  let offered: Awaited<ReturnType<typeof offersOf>> = new Map()
  try {
    const rooms = await openRooms({
      settings,
      // asked for what is newer only, and so whatever the age of what is here
      upstreamFor: upstream =>
        archiveUpstream(upstream, {
          archive,
          serves: new Set([
            upstream.name,
            ...settings.upstreams
              .filter(({ evidenceFrom }) => evidenceFrom === upstream.name)
              .map(({ name: of }) => of),
          ]),
          wanted,
          offered: () => offered,
        }),
    })
    try {
      offered = await offersOf(archive, rooms.store, Date.now())
      const gate = rooms.openGate(settings.publicUrl)
      const outcomes: Outcome[] = []
      // first: what is admitted may rest on them
      await eachOf(archive.vouched, async id => {
        outcomes.push(...(await takeVouches(gate, archive, id)))
      })
      const total = offered.size + archive.tarballs.length
      await withProgress(io, { title: 'verifying', total }, async progress => {
        await eachOf([...offered.keys()], async packageName => {
          const failed = await takePackument(gate, packageName)
          if (failed) outcomes.push(failed)
          progress.step()
        })
        await eachOf(archive.tarballs, async id => {
          progress.at(id)
          outcomes.push(await wanted.run(id, () => takeTarball(gate, id)))
          progress.step()
        })
      })
      await gate.idle()
      return report(io, values.json === true, outcomes, archive.ignored)
    } finally {
      await rooms.close()
    }
  } finally {
    await archive.close()
  }
}
