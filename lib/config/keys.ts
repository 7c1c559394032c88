/** The schema's leaves in order: every key that can be set, for variables, the table and the tests. */
import { z } from 'zod'
import { leafInfo, type LeafInfo } from './leaves.ts'
import { unwrap } from './schema-walk.ts'
import { settingsSchema } from './schema.ts'

type Schema = z.core.$ZodType

export type SettingKey = LeafInfo & {
  /** `*` stands for any name, as in `upstreams.*.url`. */
  readonly path: readonly string[]
  readonly description: string
  /** As one writes it; undefined when there is none. */
  readonly fallback: unknown
}

const children = (schema: Schema): (readonly [string, Schema])[] => {
  const inner = unwrap(schema)
  if (inner instanceof z.ZodRecord) return [['*', inner.valueType]]
  return inner instanceof z.ZodObject ? Object.entries(inner.shape) : []
}

/** Information may be registered on any layer of wrappers; the outermost wins. */
const layers = (schema: Schema): Schema[] => {
  const def = schema._zod.def as { innerType?: Schema; in?: Schema }
  const inner = def.innerType ?? def.in
  return [schema, ...(inner ? layers(inner) : [])]
}

const first = <T>(schema: Schema, pick: (layer: Schema) => T | undefined): T | undefined => {
  for (const layer of layers(schema)) {
    const found = pick(layer)
    if (found !== undefined) return found
  }
  return undefined
}

const collect = (schema: Schema, path: readonly string[]): SettingKey[] => {
  const info = first(schema, layer => leafInfo.get(layer))
  if (!info) return children(schema).flatMap(([name, child]) => collect(child, [...path, name]))
  const description = first(schema, layer => z.globalRegistry.get(layer)?.description) ?? ''
  const fallback = first(schema, layer => {
    const def: { type: string; defaultValue?: unknown } = layer._zod.def
    return def.type === 'default' || def.type === 'prefault' ? def.defaultValue : undefined
  })
  return [{ ...info, path, description, fallback }]
}

export const settingKeys: readonly SettingKey[] = collect(settingsSchema, [])

const matches = (pattern: readonly string[], path: readonly PropertyKey[]) =>
  pattern.length === path.length && pattern.every((part, i) => part === '*' || part === path[i])

export const settingKeyAt = (path: readonly PropertyKey[]): SettingKey | undefined =>
  settingKeys.find(key => matches(key.path, path))

/** `upstreams.npm.tarballOrigins` → `ATTESTRY_UPSTREAMS_NPM_TARBALL_ORIGINS`. */
export const variableName = (path: readonly string[]): string =>
  `ATTESTRY_${path
    .map(part =>
      part === '*'
        ? '<NAME>'
        : part
            .replaceAll(/[A-Z]/g, c => `_${c}`)
            .replaceAll('-', '_')
            .toUpperCase(),
    )
    .join('_')}`

export const isSecret = (path: readonly PropertyKey[]): boolean =>
  settingKeyAt(path)?.secret === true
