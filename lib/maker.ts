/**
 * Who made an answer or a verdict that is kept: this program as it is, not only as it is called. A
 * checkout moves on, and a build is patched or rolled back, under one version; what another one
 * judged must be judged again.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import { extname } from 'node:path'
import { version } from './version.ts'

/** The rooms whose code has a say in it. */
const rooms = ['evidence', 'gate', 'policy', 'upstream']
/** The packages that have: how versions compare, and what a condition means. */
const packages = ['@marcbachmann/cel-js', 'semver']

const versionOf = (name: string): string => {
  const file = findPackageJSON(name, import.meta.url)
  if (file === undefined) throw new Error(`${name} has no package.json`)
  return (JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string }).version
}

/**
 * One text for this version, its code, the packages it leans on and the version of Node; some
 * milliseconds of work. Undefined where its files are not as they were written (put together into
 * one, for instance): then nothing should be kept.
 */
export const makerAt = (home: string): string | undefined => {
  const digest = createHash('sha256')
  const sources = extname(import.meta.url)
  try {
    for (const name of packages) digest.update(`${name} ${versionOf(name)}\n`)
    for (const room of rooms) {
      const folder = `${home}/${room}/`
      for (const file of readdirSync(folder).toSorted()) {
        if (!file.endsWith(sources) || file.endsWith('.d.ts')) continue
        const code = readFileSync(folder + file)
        digest.update(`${room}/${file} ${code.length}\n`).update(code)
      }
    }
  } catch {
    return undefined
  }
  return `${version} ${process.version} ${digest.digest('base64url')}`
}

/** Of this program. */
export const maker = (): string | undefined => makerAt(import.meta.dirname)
