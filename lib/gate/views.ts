/**
 * Packuments as clients see them: the standing of every version and the finished bytes of each
 * form, made once and sent until something they rest on changes.
 */
import { createHash } from 'node:crypto'
import type { DistTags } from './dist-tags.ts'
import type { Epochs } from './epochs.ts'
import { openFlights } from './flights.ts'
import type { KeptRepresentations, MadeFrom } from './kept-representations.ts'
import type { Judges } from './judge.ts'
import type { Standing } from './standing.ts'
import type { Made, Memory } from './memory.ts'
import { repointDistTags } from './dist-tags.ts'
import type { Packages } from './packages.ts'
import type { PackageIndex } from './package-index.ts'
import { reasonsText } from './reasons.ts'
import { buildRepresentation, type Form, type Representation } from './representation.ts'

export type ViewsOptions = {
  readonly packages: Packages
  readonly judges: Judges
  readonly epochs: Epochs
  readonly now: () => Date
  readonly publicUrl: string
  readonly kept?: KeptRepresentations | undefined
  /** Shared with others, whose `key` is another. */
  readonly memory: Memory
  readonly key: string
  /** Versions that observe mode lets through are marked as deprecated. */
  readonly deprecates: boolean
}

export type Views = ReturnType<typeof openViews>

export type ServedPackument = {
  readonly standing: Standing
  readonly representation: Representation
  readonly stale: boolean
}

const variantOf = (form: Form, hints: boolean) => (hints ? `${form}+hints` : form)

/** What a representation shows of verdicts: which versions are refused or deprecated, in which words. */
const effectOf = ({ refused, observed }: Standing, deprecates: boolean): string => {
  const told = deprecates ? [...refused, ...observed] : [...refused]
  if (told.length === 0) return ''
  const hash = createHash('sha256')
  for (const [version, verdict] of told)
    hash.update(`${verdict.decision} ${version} ${reasonsText(verdict)}\n`)
  return hash.digest('base64url')
}

export const openViews = ({
  packages,
  judges,
  epochs,
  now,
  publicUrl,
  kept,
  memory: { standings, finished },
  key,
  deprecates,
}: ViewsOptions) => {
  const judging = openFlights<Made<Standing>>()
  const building = openFlights<Representation>()

  const current = (made: Made<unknown> | undefined, index: PackageIndex) =>
    made !== undefined && made.epoch === epochs.of(index.name) && made.raw === index.raw

  const standingAtHand = (index: PackageIndex): Made<Standing> | undefined => {
    const have = standings.get(`${key} ${index.name}`)
    return have && current(have, index) && now().getTime() < have.value.changesAt
      ? have
      : undefined
  }

  const finishedAtHand = (index: PackageIndex, variant: string): Representation | undefined => {
    const have = finished.get(`${key} ${variant} ${index.name}`)
    return have && current(have, index) && now().getTime() < have.until ? have.value : undefined
  }

  /** What is in memory and holds; looks nothing up and waits for nobody. */
  const ready = (name: string, form: Form, hinting = false): ServedPackument | undefined => {
    const index = packages.fresh(name)
    const standing = index && standingAtHand(index)?.value
    if (!standing) return undefined
    const variant = variantOf(form, hinting && standing.refused.size > 0)
    const representation = finishedAtHand(index, variant)
    return representation && { standing, representation, stale: index.stale }
  }

  const standingOf = async (index: PackageIndex): Promise<Made<Standing>> => {
    const have = standingAtHand(index)
    if (have) return have
    const epoch = epochs.of(index.name)
    const made = await judging(`${index.name} ${index.raw} ${epoch}`, async () => ({
      value: await judges.standing(index, standings.peek(`${key} ${index.name}`)?.value),
      epoch,
      raw: index.raw,
    }))
    standings.set(`${key} ${index.name}`, made)
    return made
  }

  const represent = async (
    index: PackageIndex,
    form: Form,
    hints: boolean,
  ): Promise<Representation> => {
    const { value: standing, epoch } = await standingOf(index)
    const at = `${key} ${variantOf(form, hints)} ${index.name}`
    const from: MadeFrom = { raw: index.raw, effect: effectOf(standing, deprecates) }
    const build = async () => {
      const packument = await packages.packument(index)
      const built = await buildRepresentation(packument, standing, form, {
        publicUrl,
        hints,
        deprecates,
      })
      kept?.keep(at, from, built)
      return built
    }
    // verdicts were made anew, and mostly come to the same
    const before = finished.get(at)
    const same = before?.raw === from.raw && before.effect === from.effect
    const value = same ? before.value : ((await kept?.load(at, from)) ?? (await build()))
    finished.set(at, { value, epoch, ...from, until: standing.changesAt })
    return value
  }

  return {
    ready,

    standing: async (name: string): Promise<Standing> =>
      (await standingOf(await packages.get(name))).value,

    /** Every version of a package as it is at hand judged by what is known now. */
    judged: async (index: PackageIndex): Promise<Standing> => (await standingOf(index)).value,

    /** `hinting`: for a client that is told of refusals in dist-tags. */
    packument: async (name: string, form: Form, hinting = false): Promise<ServedPackument> => {
      const index = await packages.get(name)
      const { value: standing } = await standingOf(index)
      const hints = hinting && standing.refused.size > 0
      const variant = variantOf(form, hints)
      const representation =
        finishedAtHand(index, variant) ??
        (await building(`${variant} ${name} ${index.raw} ${epochs.of(name)}`, () =>
          represent(index, form, hints),
        ))
      return { standing, representation, stale: index.stale }
    },

    distTags: async (name: string): Promise<DistTags> => {
      const { value } = await standingOf(await packages.get(name))
      const shown = [...value.index.versions.keys()].filter(
        version => !value.refused.has(version),
      )
      return repointDistTags(value.index.distTags, new Set(shown))
    },
  }
}
