/**
 * Versions that a dist-tag names and clients are not shown. They install another one without a word,
 * so that nobody but whoever runs this would notice that a release lost its provenance, or came from
 * somebody else.
 */
import { LRUCache } from 'lru-cache'
import { atMost } from '../at-most.ts'
import type { PackageId, Reason } from '../types.ts'
import { repointDistTags } from './dist-tags.ts'
import type { Standing } from './standing.ts'

export type Withheld = {
  readonly package: PackageId
  /** The dist-tag that names it at the upstream. */
  readonly tag: string
  /** What the tag names here; none where it is left out. */
  readonly instead?: string
  readonly reasons: readonly Reason[]
  /** The view whose policy says so; absent for those who have none. */
  readonly view?: string
}

export type WithheldObserver = {
  /** Once for each version, tag and set of reasons, as long as they are remembered. */
  readonly onWithheld?: (withheld: Withheld) => void
}

const REMEMBERED = 20_000

const withheldIn = ({ index, refused }: Standing): readonly Withheld[] => {
  const shown = new Set([...index.versions.keys()].filter(version => !refused.has(version)))
  const tags = repointDistTags(index.distTags, shown)
  return Object.entries(index.distTags).flatMap(([tag, version]) => {
    const verdict = refused.get(version)
    const instead = tags[tag]
    const named = { package: { name: index.name, version }, tag }
    return verdict
      ? [{ ...named, reasons: verdict.reasons, ...(instead !== undefined && { instead }) }]
      : []
  })
}

/** Tells of what is withheld in what clients are sent. */
export const openWithheld = (
  { onWithheld }: WithheldObserver,
  view: string | undefined,
): ((standing: Standing) => void) => {
  if (!onWithheld) return () => {}
  const told = new LRUCache<string, true>(atMost(REMEMBERED))
  return standing => {
    if (standing.refused.size === 0) return
    for (const one of withheldIn(standing)) {
      const { package: id, tag, reasons } = one
      const codes = reasons.map(({ code }) => code)
      const key = JSON.stringify([id.name, id.version, tag, ...codes])
      if (told.has(key)) continue
      told.set(key, true)
      onWithheld(view === undefined ? one : { ...one, view })
    }
  }
}
