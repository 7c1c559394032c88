/** config/policy.schema.json: completion and checks while writing, for editors that know JSON Schema. */
import { z } from 'zod'
import { policySchema } from './schema.ts'

/** JSON Schema 2020-12 of what a policy file may say. */
export const policyJsonSchema = (): Readonly<Record<string, unknown>> => {
  const { $schema, ...rest } = z.toJSONSchema(policySchema, { io: 'input' })
  return { $schema, title: 'Attestry policy', ...rest }
}
