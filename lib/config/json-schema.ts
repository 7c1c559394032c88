/** The JSON Schema of attestry.yaml, for editors; config/attestry.schema.json holds it. */
import { z } from 'zod'
import { leafInfo } from './leaves.ts'
import { settingsSchema } from './schema.ts'

/** JSON Schema 2020-12 of what one may write (not of what the check makes of it). */
export const settingsJsonSchema = (): Record<string, unknown> => ({
  title: 'attestry.yaml',
  ...z.toJSONSchema(settingsSchema, {
    io: 'input',
    override: ({ zodSchema, jsonSchema }) => {
      const words = leafInfo.get(zodSchema)?.json
      if (words) {
        for (const key of ['type', 'anyOf']) delete jsonSchema[key]
        Object.assign(jsonSchema, words)
      }
      // a mapping's default is only the sum of its keys' defaults
      if (jsonSchema.type === 'object') delete jsonSchema.default
    },
  }),
})
