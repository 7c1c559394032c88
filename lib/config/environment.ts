/** Settings from `ATTESTRY_…` variables, and `${NAME}` inside secrets. Pure: the environment is handed in. */
import { isSecret, settingKeys, settingKeyAt, variableName, type SettingKey } from './keys.ts'
import { didYouMean } from './nearest.ts'
import { fileVariable } from './settings-file.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** A value from outside the file; `source` is how messages call it (`ATTESTRY_LISTEN`, `--listen`). */
export type Assignment = {
  readonly path: readonly string[]
  readonly value: unknown
  readonly source: string
}

export type SourcedMessage = { readonly source: string; readonly message: string }

/** The other names the test material of the project's own suite: neither is a setting. */
const otherVariables = new Set([fileVariable, 'ATTESTRY_CORPUS'])

const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The names that variables can speak of: those in the file; of upstreams else the default one. */
const namesAt = (raw: unknown, path: readonly string[]): string[] => {
  const at = path.reduce<unknown>(
    (node, part) => (isMapping(node) ? node[part] : undefined),
    raw,
  )
  if (isMapping(at)) return Object.keys(at)
  return path.length === 1 && path[0] === 'upstreams' ? ['npm'] : []
}

const pathsFor = (key: SettingKey, raw: unknown): string[][] =>
  key.path.reduce<string[][]>(
    (paths, part) =>
      paths.flatMap(path =>
        part === '*' ? namesAt(raw, path).map(name => [...path, name]) : [[...path, part]],
      ),
    [[]],
  )

/** Text as the key's schema wants it: lists by comma, `file:PATH` as `{ file }`, digits as a number. */
export const fromText = (key: SettingKey, text: string): unknown => {
  const one = (item: string): unknown => {
    if (key.fileForm && item.startsWith('file:')) return { file: item.slice('file:'.length) }
    if (key.boolean && /^(true|false)$/.test(item)) return item === 'true'
    return key.number && /^\d{1,15}$/.test(item) ? Number(item) : item
  }
  if (!key.list) return one(text)
  const items = text.split(',').map(item => item.trim())
  return items.length === 1 && items[0] === '' ? [] : items.map(one)
}

/** Every `ATTESTRY_…` variable is a setting or a complaint. */
export const readVariables = (
  env: Environment,
  raw: unknown,
): { assignments: Assignment[]; complaints: SourcedMessage[] } => {
  const known = new Map(
    settingKeys.flatMap(key =>
      pathsFor(key, raw).map(path => [variableName(path), { key, path }] as const),
    ),
  )
  const assignments: Assignment[] = []
  const complaints: SourcedMessage[] = []
  for (const [source, text] of Object.entries(env)) {
    if (!source.startsWith('ATTESTRY_') || otherVariables.has(source) || text === undefined)
      continue
    const target = known.get(source)
    if (target) {
      assignments.push({ path: target.path, value: fromText(target.key, text), source })
    } else {
      const hint = didYouMean(source, [...known.keys()])
      complaints.push({ source, message: `this variable names no setting${hint}` })
    }
  }
  return { assignments, complaints }
}

/** A copy of `raw` with the assignments made; where the file has no mapping, the check will complain. */
export const assign = (raw: unknown, assignments: readonly Assignment[]): unknown => {
  const root: unknown = structuredClone(raw)
  for (const { path, value } of assignments) {
    let node = root
    for (const part of path.slice(0, -1)) {
      if (!isMapping(node)) break
      node[part] ??= {}
      node = node[part]
    }
    const last = path.at(-1)
    if (isMapping(node) && last !== undefined) node[last] = value
  }
  return root
}

/** Every text below `value`, replaced by what `change` makes of it. */
export const mapTexts = (
  value: unknown,
  change: (text: string, path: readonly string[]) => string,
  path: readonly string[] = [],
): unknown => {
  if (typeof value === 'string') return change(value, path)
  if (Array.isArray(value))
    return value.map((item, i) => mapTexts(item, change, [...path, String(i)]))
  if (!isMapping(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, mapTexts(item, change, [...path, key])]),
  )
}

/** `${NAME}` in a secret is the variable's value; a variable that is unset or empty is a complaint. */
export const expandSecrets = (
  raw: unknown,
  env: Environment,
): { value: unknown; complaints: { path: readonly string[]; message: string }[] } => {
  const complaints: { path: readonly string[]; message: string }[] = []
  const value = mapTexts(raw, (text, path) => {
    if (!text.includes('${')) return text
    if (!isSecret(path)) {
      if (settingKeyAt(path)) {
        const message = `${path.join('.')}: \${NAME} is filled in in secrets only; set ${variableName(path)} instead`
        complaints.push({ path, message })
      }
      return text
    }
    return text.replaceAll(/\$\{([^}]*)\}?/g, (whole, name: string) => {
      const found = whole.endsWith('}') && Object.hasOwn(env, name) ? env[name] : undefined
      if (found) return found
      const message = /^\$\{[A-Za-z_]\w*\}$/.test(whole)
        ? `the variable ${name} is ${found === '' ? 'empty' : 'not set'}`
        : 'wanted ${NAME} with the name of a variable'
      complaints.push({ path, message: `${path.join('.')}: ${message}` })
      return ''
    })
  })
  return { value, complaints }
}
