/** What is shipped inside @sigstore/tuf for its start: sigstore's TUF root and some targets. */
import { createRequire } from 'node:module'
import { AttestryError } from '../errors.ts'
import { parseJson } from './files.ts'

type Seed = {
  readonly 'root.json': string
  readonly targets: Readonly<Record<string, string>>
}

export type Shipped = {
  /** No slash at its end. */
  readonly mirror: string
  /** The TUF root metadata. */
  readonly root: string
  /** By path, as text. */
  readonly targets: ReadonlyMap<string, string>
  /** `@sigstore/tuf` and its version. */
  readonly label: string
}

const decode = (text: string) => Buffer.from(text, 'base64').toString('utf8')

export const shippedRepository = (): Shipped => {
  const seeds = createRequire(import.meta.url)('@sigstore/tuf/seeds.json') as Readonly<
    Record<string, Seed>
  >
  const { version } = createRequire(import.meta.url)('@sigstore/tuf/package.json') as {
    version: string
  }
  for (const [mirror, seed] of Object.entries(seeds))
    return {
      mirror,
      root: decode(seed['root.json']),
      targets: new Map(
        Object.entries(seed.targets).map(([name, content]) => [
          decodeURIComponent(name),
          decode(content),
        ]),
      ),
      label: `@sigstore/tuf ${version}`,
    }
  throw new AttestryError('ETRUST', '@sigstore/tuf ships no TUF repository')
}

/** npm's client looks a registry's keys up as `<host><path>/keys.json`. */
export const keysEnding = '/keys.json'

/** The first shipped target whose path ends so. Throws ETRUST. */
export const shippedTarget = (
  ending: string,
  what: string,
): { readonly name: string; readonly document: unknown } => {
  const { targets, label } = shippedRepository()
  for (const [name, text] of targets)
    if (name.endsWith(ending)) return { name, document: parseJson(text, `${label} ${name}`) }
  throw new AttestryError('ETRUST', `${label} ships no ${what}`)
}
