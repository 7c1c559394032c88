/** `attestry log`: the audit log, read, proven, signed and shortened. */
import { commandOfParts } from './parts.ts'

export const log = commandOfParts('log', {
  show: {
    summary: 'Print entries: who asked for what, and what was decided.',
    load: async () => (await import('./log/show.ts')).show,
  },
  verify: {
    summary: 'Prove that nothing was changed, removed, reordered or cut off.',
    load: async () => (await import('./log/verify.ts')).verify,
  },
  checkpoint: {
    summary: 'Sign the log as it is and print the checkpoint, to be kept elsewhere.',
    load: async () => (await import('./log/checkpoint.ts')).checkpoint,
  },
  key: {
    summary: 'Print the public key that checkpoints are checked by.',
    load: async () => (await import('./log/key.ts')).key,
  },
  search: {
    summary: 'Ask a Rekor which entries it has about a version, and who signed them.',
    load: async () => (await import('./log/search.ts')).search,
  },
  prune: {
    summary: 'Write old entries to a file and drop them; what is left stays provable.',
    load: async () => (await import('./log/prune.ts')).prune,
  },
})
