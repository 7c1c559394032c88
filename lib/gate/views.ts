/**
 * Packuments as clients see them: the standing of every version and the finished bytes of each
 * form, made once and sent until something they rest on changes.
 */
import { createHash } from 'node:crypto'
import { isAttestryError } from '../errors.ts'
import type { DistTags } from './dist-tags.ts'
import type { Epochs } from './epochs.ts'
import { openFlights } from './flights.ts'
import type { KeptRepresentations, MadeFrom } from './kept-representations.ts'
import type { KeptVerdicts } from './kept-verdicts.ts'
import type { Judges } from './judge.ts'
import { isStanding, type Outcome, type Standing } from './standing.ts'
import type { Made, Memory } from './memory.ts'
import { repointDistTags } from './dist-tags.ts'
import type { Packages } from './packages.ts'
import type { PackageHead, PackageIndex } from './package-index.ts'
import { reasonsText } from './reasons.ts'
import { buildRepresentation, type Form, type Representation } from './representation.ts'

export type { WithheldObserver } from './withheld.ts'

export type ViewsOptions = {
  readonly packages: Packages
  readonly judges: Judges
  readonly epochs: Epochs
  readonly now: () => Date
  readonly publicUrl: string
  readonly kept?:
    | (Pick<KeptVerdicts, 'grounds' | 'standing' | 'keepStanding'> & {
        readonly representations: KeptRepresentations
      })
    | undefined
  /** Shared with others, whose `key` is another. */
  readonly memory: Memory
  readonly key: string
  /** Versions that observe mode lets through are marked as deprecated. */
  readonly deprecates: boolean
  /** Hears of what a document that clients are sent is made from. */
  readonly onMade?: (standing: Standing) => void
}

export type Views = ReturnType<typeof openViews>

export type ServedPackument = {
  readonly standing: Outcome
  readonly representation: Representation
  readonly stale: boolean
  /** When the upstream last confirmed it, milliseconds since the epoch. */
  readonly fetchedAt: number
}

const variantOf = (form: Form, hints: boolean) => (hints ? `${form}+hints` : form)
const forms: readonly Form[] = ['full', 'abbreviated']

/** What a representation shows of verdicts: which versions are refused or deprecated, in which words. */
const effectOf = ({ refused, observed }: Outcome, deprecates: boolean): string => {
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
  onMade,
}: ViewsOptions) => {
  const judging = openFlights<Made<Standing>>()
  const building = openFlights<Representation>()
  const loading = openFlights<ServedPackument | undefined>()

  const current = (made: Made<unknown> | undefined, head: PackageHead) =>
    made !== undefined && made.epoch === epochs.of(head.name) && made.raw === head.raw

  const outcomeAtHand = (head: PackageHead): Made<Outcome> | undefined => {
    const have = standings.get(`${key} ${head.name}`)
    return have && current(have, head) && now().getTime() < have.value.changesAt
      ? have
      : undefined
  }

  const finishedAtHand = (head: PackageHead, variant: string): Representation | undefined => {
    const have = finished.get(`${key} ${variant} ${head.name}`)
    return have && current(have, head) && now().getTime() < have.until ? have.value : undefined
  }

  const servedOf = (
    { stale, fetchedAt }: PackageHead,
    standing: Outcome,
    representation: Representation,
  ): ServedPackument => ({ standing, representation, stale, fetchedAt })

  /** What is in memory and holds; looks nothing up and waits for nobody. */
  const ready = (name: string, form: Form, hinting = false): ServedPackument | undefined => {
    const head = packages.freshHead(name)
    const standing = head && outcomeAtHand(head)?.value
    if (!standing) return undefined
    const variant = variantOf(form, hinting && standing.refused.size > 0)
    const representation = finishedAtHand(head, variant)
    return representation && servedOf(head, standing, representation)
  }

  const judgeAll = async (index: PackageIndex, epoch: number): Promise<Made<Standing>> => {
    const was = standings.peek(`${key} ${index.name}`)?.value
    const before = await kept?.grounds(index)
    const value = await judges.standing(index, was && isStanding(was) ? was : undefined)
    const grounds = before !== undefined && (await kept?.grounds(index)) === before
    return { value, epoch, raw: index.raw, ...(grounds && { grounds: before }) }
  }

  const standingOf = async (index: PackageIndex): Promise<Made<Standing>> => {
    const have = outcomeAtHand(index)
    if (have && isStanding(have.value)) return { ...have, value: have.value }
    const epoch = epochs.of(index.name)
    const made = await judging(`${index.name} ${index.raw} ${epoch}`, () =>
      judgeAll(index, epoch),
    )
    standings.set(`${key} ${index.name}`, made)
    return made
  }

  const represent = async (
    index: PackageIndex,
    form: Form,
    hints: boolean,
  ): Promise<Representation> => {
    const made = await standingOf(index)
    const { value: standing, epoch } = made
    const at = `${key} ${variantOf(form, hints)} ${index.name}`
    const from: MadeFrom = { raw: index.raw, effect: effectOf(standing, deprecates) }
    const build = async () => {
      const packument = await packages.packument(index)
      return buildRepresentation(packument, standing, form, { publicUrl, hints, deprecates })
    }
    // verdicts were made anew, and mostly come to the same
    const before = finished.get(at)
    const same = before?.raw === from.raw && before.effect === from.effect
    if (!same) onMade?.(standing)
    const value = same
      ? before.value
      : ((await kept?.representations.load(at, from)) ?? (await build()))
    finished.set(at, { value, epoch, ...from, until: standing.changesAt })
    const { grounds } = made
    const settled = grounds !== undefined && kept?.keepStanding(standing, grounds) === true
    kept?.representations.keep(at, from, value, settled)
    return value
  }

  /** What another process made, without the packument having been read here. */
  const load = async (head: PackageHead, form: Form): Promise<ServedPackument | undefined> => {
    const { name, raw } = head
    const epoch = epochs.of(name)
    const made = outcomeAtHand(head)
    const from: MadeFrom = { raw, effect: '' }
    const at = `${key} ${form} ${name}`
    const [standing, representation] = await Promise.all([
      made ? made.value : kept?.standing(head),
      kept?.representations.load(at, from),
    ])
    if (!standing || !representation || effectOf(standing, deprecates) !== '') return undefined
    if (!made) standings.set(`${key} ${name}`, { value: standing, epoch, raw })
    finished.set(at, { value: representation, epoch, ...from, until: standing.changesAt })
    return servedOf(head, standing, representation)
  }

  const keptPackument = async (
    name: string,
    form: Form,
  ): Promise<ServedPackument | undefined> => {
    // whose versions are known here, however long ago, is looked after by `packages`
    if (!kept || packages.fresh(name, Number.POSITIVE_INFINITY)) return undefined
    const head = await packages.head(name)
    return (
      head && loading(`${form} ${name} ${head.raw} ${epochs.of(name)}`, () => load(head, form))
    )
  }

  const packument = async (
    name: string,
    form: Form,
    hinting: boolean,
  ): Promise<ServedPackument> => {
    const index = await packages.get(name)
    const { value: standing } = await standingOf(index)
    const hints = hinting && standing.refused.size > 0
    const variant = variantOf(form, hints)
    const representation =
      finishedAtHand(index, variant) ??
      (await building(`${variant} ${name} ${index.raw} ${epochs.of(name)}`, () =>
        represent(index, form, hints),
      ))
    return servedOf(index, standing, representation)
  }

  /** While the store is away: what was last sent of a package that nobody here has read. */
  const standIn = (name: string, form: Form, error: unknown): ServedPackument => {
    const head = packages.freshHead(name, packages.staleIfError)
    const standing = head && outcomeAtHand(head)?.value
    const representation = head && finishedAtHand(head, form)
    const away = isAttestryError(error) && error.code === 'ESTOREDOWN'
    if (!away || !standing || !representation) throw error
    return servedOf({ ...head, stale: true }, standing, representation)
  }

  return {
    ready,

    standing: async (name: string): Promise<Standing> =>
      (await standingOf(await packages.get(name))).value,

    /** Every version of a package as it is at hand judged by what is known now. */
    judged: async (index: PackageIndex): Promise<Standing> => (await standingOf(index)).value,

    /** `hinting`: for a client that is told of refusals in dist-tags. */
    packument: async (name: string, form: Form, hinting = false): Promise<ServedPackument> => {
      const have = ready(name, form, hinting)
      if (have) return have
      try {
        return (await keptPackument(name, form)) ?? (await packument(name, form, hinting))
      } catch (error) {
        return standIn(name, form, error)
      }
    },

    /** Judges again what was shown here, and has it ready, where its text need not be read for it. */
    settle: async (name: string): Promise<void> => {
      const index = packages.fresh(name)
      if (!index || !standings.has(`${key} ${name}`)) return
      const { value: standing } = await standingOf(index)
      const effect = effectOf(standing, deprecates)
      for (const form of forms) {
        const before = finished.peek(`${key} ${form} ${name}`)
        if (before?.raw === index.raw && before.effect === effect)
          await represent(index, form, false)
      }
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
