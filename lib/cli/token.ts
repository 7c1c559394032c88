/** `attestry token`: bearer tokens for `access: tokens` and for views. */
import { commandOfParts } from './parts.ts'

export const token = commandOfParts('token', {
  create: {
    summary: 'Make a token and print it, this once.',
    load: async () => (await import('./token/create.ts')).create,
  },
  list: {
    summary: 'List the tokens: names, views and ends.',
    load: async () => (await import('./token/list.ts')).list,
  },
  revoke: {
    summary: 'Make a token worthless, from the next request on.',
    load: async () => (await import('./token/revoke.ts')).revoke,
  },
})
