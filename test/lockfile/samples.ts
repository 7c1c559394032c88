/**
 * One project as each client locks it: written by npm 11 (in all its versions), pnpm 11, yarn 1,
 * yarn 4 and bun 1.4, with hosts replaced; pnpm 8's is written by hand after its format.
 */
import { readFileSync } from 'node:fs'
import { readLockfile } from '../../lib/lockfile/read.ts'
import type { LockedPackage, Lockfile } from '../../lib/lockfile/lockfile.ts'

/** The registry in those files, and the host of the tarball that is asked for by address. */
export const lockedRegistry = 'https://registry.example/'
export const otherHost = 'https://files.example/'

const files = {
  'npm-1': 'package-lock.json',
  'npm-2': 'npm-shrinkwrap.json',
  'npm-3': 'package-lock.json',
  'pnpm-6': 'pnpm-lock.yaml',
  'pnpm-9': 'pnpm-lock.yaml',
  'yarn-1': 'yarn.lock',
  'yarn-4': 'yarn.lock',
  'bun-2': 'bun.lock',
} as const

export type SampleName = keyof typeof files
export type Sample = { readonly name: SampleName; readonly file: string; readonly text: string }

export const samples: readonly Sample[] = Object.entries(files).map(([name, file]) => ({
  name: name as SampleName,
  file,
  text: readFileSync(new URL(`samples/${name}.txt`, import.meta.url), 'utf8'),
}))

export const sample = (name: SampleName): Sample => {
  const found = samples.find(s => s.name === name)
  if (found === undefined) throw new Error(`no sample ${name}`)
  return found
}

export const read = ({ file, text }: Pick<Sample, 'file' | 'text'>): Lockfile =>
  readLockfile(text, { file })

/** What comes from a registry, once each, with what `more` says of it. */
export const fromRegistry = (
  packages: readonly LockedPackage[],
  more: (entry: LockedPackage) => string = () => '',
): readonly string[] => [
  ...new Set(
    packages
      .filter(({ kind }) => kind === 'registry')
      .map(entry => `${entry.name}@${entry.version}${more(entry)}`)
      .toSorted(),
  ),
]

/** A sha512 that nothing has. */
export const digest = (of: number): string =>
  `sha512-${Buffer.alloc(64, of).toString('base64')}`
