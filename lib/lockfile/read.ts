/**
 * Any lockfile's text → the same list. The text says which format it is; the file's name helps
 * only where it says nothing. Pure, and in time that grows with the text.
 */
import { readBun } from './bun.ts'
import { parseJson } from './json.ts'
import { asMapping, openSource, type Mapping, type Source } from './located.ts'
import type { Lockfile } from './lockfile.ts'
import { readNpm } from './npm.ts'
import { readPnpm } from './pnpm.ts'
import { readYarnBerry } from './yarn-berry.ts'
import { readYarnClassic } from './yarn-classic.ts'
import { parseYarnText } from './yarn-text.ts'
import { parseYaml } from './yaml.ts'

/** Characters of text, and bytes of a file. */
export const MAX_LOCKFILE = 64 * 1024 * 1024

const formats = 'package-lock.json, npm-shrinkwrap.json, pnpm-lock.yaml, yarn.lock or bun.lock'

const readJson = (source: Source, from: number): Lockfile => {
  const { value, lenientAt } = parseJson(source, from)
  const root = asMapping(source, value, 'the lockfile')
  const isShrinkwrap = /(?:^|[\\/])npm-shrinkwrap\.json$/.test(source.file)
  if (!root.entries.has('lockfileVersion') && !isShrinkwrap)
    throw source.complaint(root.start, 'JSON without lockfileVersion', formats)
  // npm's packages are mappings, and it keeps workspaces inside them
  if (root.entries.has('workspaces') && !root.entries.has('requires'))
    return readBun(source, root)
  if (lenientAt !== undefined)
    throw source.complaint(lenientAt, 'a comment or a comma too many', 'JSON')
  return readNpm(source, root)
}

// eslint-disable-next-line no-control-regex
const control = /[\u0000-\u0008\u000b\u000c\u000e-\u001f]|\r(?!\n)/

/**
 * @throws {AttestryError} ELOCKFILE, and nothing else: `file:line:column: found …; wanted …`.
 */
export const readLockfile = (text: string, options: { readonly file: string }): Lockfile => {
  const { file } = options
  const source = openSource(text, file)
  if (text.length > MAX_LOCKFILE) {
    const found = `${text.length} characters`
    throw source.complaint(0, found, `at most ${MAX_LOCKFILE}`)
  }
  if (text.startsWith('#!/usr/bin/env bun\nbun-lockfile-format'))
    throw source.complaint(
      0,
      "bun's binary lockfile",
      'bun.lock, which `bun install --save-text-lockfile` writes',
    )
  const conflict = /^(?:<{7}|>{7})(?: |\r?$)/m.exec(text)
  if (conflict !== null)
    throw source.complaint(conflict.index, 'an unresolved merge conflict', 'one lockfile')
  const from = text.startsWith('\uFEFF') ? 1 : 0
  const first = /\S/.exec(text.slice(from))
  if (text[from + (first?.index ?? 0)] === '{') return readJson(source, from)
  const odd = control.exec(text)
  if (odd !== null) throw source.complaint(odd.index, 'a control character', formats)
  if (from === 1) throw source.complaint(0, 'a byte order mark', formats)

  const yaml = (): Mapping => {
    const [root, more] = parseYaml(source)
    if (root === undefined || more !== undefined)
      throw source.complaint(more?.start ?? 0, 'no or several documents', 'one document')
    return asMapping(source, root, 'the lockfile')
  }
  if (/^"?__metadata"?:/m.test(text)) return readYarnBerry(source, yaml())
  if (/^lockfileVersion:/m.test(text)) return readPnpm(source, parseYaml(source))
  if (/^# yarn lockfile v1\s*$/m.test(text) || /(?:^|[\\/])yarn\.lock$/.test(file))
    return readYarnClassic(source, parseYarnText(source))
  throw source.complaint(first === null ? 0 : from + first.index, 'no known format', formats)
}
