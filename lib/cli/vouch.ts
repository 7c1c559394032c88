/** `attestry vouch`: an organization's own word over what a publisher never signed, and taking it back. */
import type { Part } from './parts.ts'
import type { Run } from './io.ts'

const parts: Readonly<Record<string, Part>> = {
  list: {
    summary: 'List the vouches that are kept.',
    load: async () => (await import('./vouch/list.ts')).list,
  },
  revoke: {
    summary: 'Take a vouch back.',
    load: async () => (await import('./vouch/revoke.ts')).revoke,
  },
  import: {
    summary: 'Take in a vouch that was made elsewhere.',
    load: async () => (await import('./vouch/import.ts')).importVouch,
  },
}

/** Anything but these words is the package to vouch for: one needs its version after an @. */
export const vouch: Run = async ([first, ...rest], io) => {
  const part = first !== undefined && Object.hasOwn(parts, first) ? parts[first] : undefined
  if (part) return (await part.load())(rest, io)
  const { make } = await import('./vouch/make.ts')
  return make(first === undefined ? rest : [first, ...rest], io)
}
