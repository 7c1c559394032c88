/** Looking into zod schemas: which keys are known at a place, and which leaves there are. */
import { z } from 'zod'

type Schema = z.core.$ZodType

/** The schema under wrappers (default, optional, pipe …), seen from the input's side. */
export const unwrap = (schema: Schema): Schema => {
  const { def } = schema._zod as Schema['_zod'] & {
    def: { innerType?: Schema; in?: Schema; out?: Schema; getter?: () => Schema }
  }
  if (def.innerType) return unwrap(def.innerType)
  if (def.in && def.out) return unwrap(def.in._zod.def.type === 'transform' ? def.out : def.in)
  if (def.type === 'lazy' && def.getter) return unwrap(def.getter())
  return schema
}

/** Every schema that may stand at this place: a union's branches, or the one. */
export const branches = (schema: Schema): Schema[] => {
  const inner = unwrap(schema)
  return inner instanceof z.ZodUnion
    ? inner.options.flatMap(option => branches(option))
    : [inner]
}

const step = (schema: Schema, key: PropertyKey): Schema[] =>
  branches(schema).flatMap(branch => {
    if (branch instanceof z.ZodObject) {
      const shape: Readonly<Record<PropertyKey, Schema>> = branch.shape
      const next = Object.hasOwn(shape, key) ? shape[key] : undefined
      return next ? [next] : []
    }
    if (branch instanceof z.ZodRecord) return [branch.valueType]
    return branch instanceof z.ZodArray ? [branch.element] : []
  })

/** The schemas that may govern the value at `path`; none when the path is not known. */
export const schemasAt = (schema: Schema, path: readonly PropertyKey[]): Schema[] =>
  path.reduce<Schema[]>((at, key) => at.flatMap(s => step(s, key)), [schema])

/** The keys that a mapping at `path` may have, where the schema lists them. */
export const knownKeys = (schema: Schema, path: readonly PropertyKey[]): string[] => [
  ...new Set(
    schemasAt(schema, path)
      .flatMap(s => branches(s))
      .flatMap(s => (s instanceof z.ZodObject ? Object.keys(s.shape) : [])),
  ),
]
