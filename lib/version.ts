import { createRequire } from 'node:module'

/** This package's version. By its own name, because the depth differs between lib/ and dist/lib/. */
export const version: string = (
  createRequire(import.meta.url)('attestry/package.json') as { version: string }
).version
