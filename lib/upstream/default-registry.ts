/** npm's default registry, as npm's own client library knows it; ends with a slash. */
import { createRequire } from 'node:module'

// only this file of it: the whole library takes longer to load than all else a server needs
const defaults = createRequire(import.meta.url)('npm-registry-fetch/lib/default-opts.js') as {
  readonly registry: string
}

export const npmRegistry: string = new URL(defaults.registry).href
