/** Packuments that were just read: an install asks for many versions of few packages at a time. */
import { LRUCache } from 'lru-cache'
import type { Manifest } from './claims.ts'
import type { DistTags } from './dist-tags.ts'
import type { Packument } from './packument.ts'

/** Versions named by dist-tags whose manifests are held for the look into their tarballs. */
const TAGGED = 3

/** `memory`: bytes of which it takes three eighths. */
export const openTexts = (memory: number) => {
  const texts = new LRUCache<string, Packument>({
    maxSize: Math.ceil(memory / 4),
    sizeCalculation: ({ weight }) => weight,
  })
  /** Manifests, as JSON, of the versions that most will ask for, when the texts are gone again. */
  const tagged = new LRUCache<string, string>({
    maxSize: Math.ceil(memory / 8),
    sizeCalculation: manifest => manifest.length + 300,
  })
  return {
    get: (raw: string): Packument | undefined => texts.get(raw),
    set: (raw: string, packument: Packument): void => void texts.set(raw, packument),

    /** The same, with the manifests that its dist-tags name. */
    hold: (raw: string, packument: Packument, tags: DistTags): void => {
      texts.set(raw, packument)
      for (const version of Object.values(tags).slice(0, TAGGED)) {
        const manifest = packument.manifest(version)
        if (manifest) tagged.set(`${raw} ${version}`, JSON.stringify(manifest))
      }
    },

    /** A version's manifest, where it is held though the text may be gone. */
    manifest: (raw: string, version: string): Manifest | undefined => {
      const kept = tagged.get(`${raw} ${version}`)
      return kept === undefined ? undefined : (JSON.parse(kept) as Manifest)
    },
  }
}
