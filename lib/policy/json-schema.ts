/** config/*.schema.json: completion and checks while writing, for editors that know JSON Schema. */
import { z } from 'zod'
import { casesSchema } from './case-schema.ts'
import { policySchema } from './schema.ts'

const jsonSchema = (title: string, schema: z.ZodType): Readonly<Record<string, unknown>> => {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: 'input' })
  return { $schema, title, ...rest }
}

/** JSON Schema 2020-12 of what a policy file may say. */
export const policyJsonSchema = () => jsonSchema('Attestry policy', policySchema)

/** JSON Schema 2020-12 of what a file of test cases may say. */
export const casesJsonSchema = () => jsonSchema('Attestry policy test', casesSchema)
