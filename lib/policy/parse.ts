/** A policy file's text → the policy that judges. Every complaint has its file, line and column. */
import { complaintsError, readDocument, type Finding } from '../config/document.ts'
import { compile } from './compile.ts'
import type { ParsePolicy } from './policy.ts'
import { policySchema } from './schema.ts'
import { unjudged } from './unjudged.ts'

/** Throws EPOLICY with one line for each complaint, and nothing else whatever the text is. */
export const parsePolicy: ParsePolicy = (text, { file, name = file }) => {
  const { value, place } = readDocument(text, { file, schema: policySchema, code: 'EPOLICY' })
  const findings: Finding[] = unjudged(value)
  const policy = compile(value, {
    file,
    name,
    lineOf: path => place(path).line,
    complain: finding => findings.push(finding),
  })
  if (findings.length === 0) return policy
  const complaints = findings.map(({ path, message }) => ({ ...place(path), message }))
  throw complaintsError(
    'EPOLICY',
    complaints.sort((a, b) => a.line - b.line || a.column - b.column),
  )
}
