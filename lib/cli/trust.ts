/** `attestry trust`: what verification rests on, looked at and renewed. */
import { commandOfParts } from './parts.ts'

export const trust = commandOfParts('trust', {
  show: {
    summary: 'Print roots, registry keys, where they are from and when they end.',
    load: async () => (await import('./trust/show.ts')).show,
  },
  refresh: {
    summary: 'Ask the TUF repositories now.',
    load: async () => (await import('./trust/show.ts')).refresh,
  },
})
