/** A policy file's text → the policy that judges. Every complaint has its file, line and column. */
import { complaintsError, readDocument, type Finding, type Place } from '../config/document.ts'
import { didYouMean } from '../config/nearest.ts'
import { AttestryError, isAttestryError, messageOf } from '../errors.ts'
import { compile } from './compile.ts'
import type { ParsePolicy, Policy, ReadKey } from './policy.ts'
import { policySchema, type PolicyDocument } from './schema.ts'

/** A policy beside what its file says and where. */
export type LocatedPolicy = {
  readonly policy: Policy
  readonly document: PolicyDocument
  readonly place: (path: readonly PropertyKey[]) => Place
}

/** A reserved name whose upstream is not configured would fail at the first request. */
const unknownUpstreams = (
  { rules = [] }: PolicyDocument,
  upstreams: readonly string[],
): Finding[] =>
  rules.flatMap(({ upstream }, i) =>
    upstream === undefined || upstreams.includes(upstream)
      ? []
      : [
          {
            path: ['rules', i, 'upstream'],
            message: `upstream: ${upstream} is not configured${didYouMean(upstream, upstreams)}; configured: ${upstreams.join(', ')}`,
          },
        ],
  )

/** Throws EPOLICY with one line for each complaint, and nothing else whatever the text is. */
export const readPolicy = (
  text: string,
  { file, name = file, upstreams, readKey }: Parameters<ParsePolicy>[1],
): LocatedPolicy => {
  const { value, place, placeIn } = readDocument(text, {
    file,
    schema: policySchema,
    code: 'EPOLICY',
  })
  const findings: Finding[] = []
  if (upstreams !== undefined) findings.push(...unknownUpstreams(value, upstreams))
  const policy = compile(value, {
    file,
    name,
    lineOf: path => place(path).line,
    complain: finding => findings.push(finding),
    ...(readKey && { readKey }),
  })
  if (findings.length === 0) return { policy, document: value, place }
  const complaints = findings.map(({ path, message, index }) => ({
    ...(index === undefined ? place(path) : placeIn(path, index)),
    message,
  }))
  throw complaintsError('EPOLICY', complaints)
}

/** What `readPolicy` reads, without where it stood. */
export const parsePolicy: ParsePolicy = (text, options) => readPolicy(text, options).policy

/** One of several layers: its text, or why there is none. */
export type Layer = {
  readonly file: string
  readonly name: string
  readonly text: string | AttestryError
  readonly readKey?: ReadKey
}

/** Throws one EPOLICY with the complaints about all of them. */
export const parseLayers = (
  layers: readonly Layer[],
  upstreams?: readonly string[],
): readonly Policy[] => {
  const errors: AttestryError[] = []
  const policies = layers.flatMap(({ text, ...options }): Policy[] => {
    try {
      if (typeof text !== 'string') throw text
      return [parsePolicy(text, { ...options, ...(upstreams && { upstreams }) })]
    } catch (error) {
      errors.push(
        isAttestryError(error)
          ? error
          : new AttestryError('EPOLICY', `${options.file}: ${messageOf(error)}`, {
              cause: error,
            }),
      )
      return []
    }
  })
  if (errors.length === 0) return policies
  const complaints = errors.flatMap(({ details }) =>
    Array.isArray(details['complaints']) ? (details['complaints'] as unknown[]) : [],
  )
  const message = errors.map(error => error.message).join('\n')
  throw new AttestryError('EPOLICY', message, { details: { complaints } })
}
