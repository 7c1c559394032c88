/** Where a mirror and the registry it mirrors disagree: on a version, and on which there are. */
import type { Fact, VersionClaims } from '../types.ts'

/**
 * The member of a packument put together of two that holds what the mirror does not have, as far as
 * it claims attestations: nothing of it is served, and it counts among a version's predecessors.
 */
export const elsewhereMark = '_attestryElsewhere'

/** The member of a version's manifest that says so, in packuments put together of two. */
export const splitMark = '_attestrySplitView'

export type SplitView = NonNullable<VersionClaims['splitView']>

/** What a manifest says of it; undefined where nothing is wrong. */
export const splitViewOf = (
  manifest: Readonly<Record<string, unknown>>,
): SplitView | undefined => {
  const mark = manifest[splitMark]
  if (mark === undefined || mark === null) return undefined
  const said = mark as Readonly<Partial<Record<keyof SplitView, unknown>>>
  const text = (key: keyof SplitView) => (typeof said[key] === 'string' ? said[key] : 'unknown')
  return {
    mirror: text('mirror'),
    evidence: text('evidence'),
    mirrorSays: text('mirrorSays'),
    evidenceSays: text('evidenceSays'),
  }
}

/** No mode and no waiver admits it: nobody knows which of the two was published. */
export const splitViewFact = (split: SplitView): Fact<never> => ({
  state: 'invalid',
  code: 'INTEGRITY_MISMATCH',
  npmCode: 'EINTEGRITY',
  detail:
    split.evidenceSays === 'nothing'
      ? `The mirror ${split.mirror} has a version that ${split.evidence} does not have.`
      : `The mirror ${split.mirror} and the registry ${split.evidence} disagree on what this version is.`,
  wanted: `${split.evidenceSays} (${split.evidence})`,
  found: `${split.mirrorSays} (${split.mirror})`,
})
