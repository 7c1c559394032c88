/** `attestry store`: what is kept, looked at, cleaned up and carried elsewhere. */
import { commandOfParts } from './parts.ts'

export const store = commandOfParts('store', {
  stats: {
    summary: 'Count what is kept.',
    load: async () => (await import('./store/stats.ts')).stats,
  },
  gc: {
    summary: 'Bring the tarballs under storage.maxSize now, and clear leftovers.',
    load: async () => (await import('./store/gc.ts')).gc,
  },
  scrub: {
    summary: 'Hash every blob again; a damaged one is removed.',
    load: async () => (await import('./store/scrub.ts')).scrub,
  },
  affected: {
    summary: 'List who has received what would be refused today.',
    load: async () => (await import('./store/affected.ts')).affected,
  },
  export: {
    summary: 'Write packages to an archive, for a site without the network.',
    load: async () => (await import('./store/export.ts')).exportStore,
  },
  import: {
    summary: 'Take packages from an archive; each is verified and judged again.',
    load: async () => (await import('./store/import.ts')).importStore,
  },
})
