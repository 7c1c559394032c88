/** npm's default registry, as npm's own client library knows it; ends with a slash. */
import { createRequire } from 'node:module'

// npm-registry-fetch is CommonJS without types; only this one function of it is used
const { pickRegistry } = createRequire(import.meta.url)('npm-registry-fetch') as {
  pickRegistry: (spec: string) => string
}

export const npmRegistry: string = new URL(pickRegistry('attestry')).href
