/** `attestry keys`: the keys that packages published through Attestry are signed with. */
import { commandOfParts } from './parts.ts'

export const keys = commandOfParts('keys', {
  create: {
    summary: 'Make the first key, or take one that is there.',
    load: async () => (await import('./keys/create.ts')).create,
  },
  list: {
    summary: 'List the keys: validity, and which one signs.',
    load: async () => (await import('./keys/list.ts')).list,
  },
  rotate: {
    summary: 'Make the next key; the one before stays valid for a while.',
    load: async () => (await import('./keys/create.ts')).rotate,
  },
  export: {
    summary: 'Print the public halves, for clients and other sites.',
    load: async () => (await import('./keys/export.ts')).exportKeys,
  },
})
