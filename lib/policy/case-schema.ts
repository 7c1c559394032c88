/**
 * Cases that a policy is tested by, as they are written: given facts, or a package as the upstream
 * has it, and what is expected. From here come the check and config/policy-test.schema.json.
 */
import { z } from 'zod'
import { durationPattern, endPattern } from './duration.ts'
import { identityFields } from './policy.ts'
import type { Decision, InvalidCode, ReasonCode } from '../types.ts'

const text = (wanted: string) =>
  z
    .string({ error: `wanted ${wanted}, in quotes` })
    .check(
      z.minLength(1, `wanted ${wanted}`),
      z.maxLength(500, 'wanted at most 500 characters'),
    )

const choice = <const T extends readonly [string, ...string[]]>(...words: T) =>
  z.enum(words, { error: `wanted ${words.slice(0, -1).join(', ')} or ${words.at(-1)}` })

const time = z
  .string({ error: 'wanted a time in quotes' })
  .regex(
    new RegExp(`${durationPattern}|${endPattern}`),
    'wanted an age as in 3d, a day as in 2027-03-01 (its beginning, UTC), or an instant as in 2027-03-01T12:00:00Z',
  )

const decisions = ['allow', 'refuse', 'unavailable'] as const satisfies readonly Decision[]
const invalidCodes = [
  'INVALID_SIGNATURE',
  'INVALID_ATTESTATION',
  'WRONG_SUBJECT',
  'INTEGRITY_MISMATCH',
  'MANIFEST_MISMATCH',
] as const satisfies readonly InvalidCode[]
export const reasonCodes = [
  'UNSIGNED',
  'NO_PROVENANCE',
  'NO_VOUCH',
  'VOUCH_EXPIRED',
  'VOUCH_REVOKED',
  ...invalidCodes,
  'IDENTITY_MISMATCH',
  'DOWNGRADED',
  'PUBLISHER_CHANGED',
  'TOO_NEW',
  'CONDITION_FALSE',
  'DENIED',
  'WAIVER_EXPIRED',
  'OUT_OF_NAMESPACE',
  'EVIDENCE_UNAVAILABLE',
] as const satisfies readonly ReasonCode[]

const state = choice('verified', 'absent', 'invalid', 'unavailable')
const fact = (what: string) =>
  z
    .union([state, z.strictObject({ invalid: choice(...invalidCodes) })], {
      error: 'wanted verified, absent, invalid, unavailable, or { invalid: CODE }',
    })
    .optional()
    .describe(what)

export const signerSchema = z
  .strictObject(
    Object.fromEntries(
      identityFields.map(field => [field, text(`the ${field} of the certificate`).optional()]),
    ) as Record<(typeof identityFields)[number], z.ZodOptional<z.ZodString>>,
  )
  .describe(
    'What the certificate of a signer says. Without subject it is made from repository, workflow and ref.',
  )

const signed = z.union([text('the name of a signer or a state'), signerSchema], {
  error: 'wanted the name of a signer, its fields, absent, invalid or unavailable',
})

const vouch = z.strictObject({
  by: z
    .union([text('the name of a signer'), signerSchema], {
      error: 'wanted the name of a signer, its fields, or the name of a key as in SHA256:…',
    })
    .describe('Who signed it: a signer, or the name of a key as in SHA256:…'),
  state: choice('verified', 'invalid', 'unavailable').optional().describe('Default verified.'),
  until: time.optional().describe('When it ends. Default never.'),
  signed: time.optional().describe('When it was signed, by the word of a log.'),
  revoked: z.boolean({ error: 'wanted true or false' }).optional().describe('Default false.'),
})

const facts = z
  .strictObject({
    registrySignature: fact("The registry's signature. Default verified."),
    publishAttestation: fact(
      "The registry's publish attestation. Default verified where there is provenance, else absent.",
    ),
    provenance: z
      .union([signed, z.strictObject({ invalid: choice(...invalidCodes) })], {
        error:
          'wanted the name of a signer, its fields, absent, invalid, unavailable, or { invalid: CODE }',
      })
      .optional()
      .describe('Who signed the provenance, or its state. Default absent.'),
    manifest: fact(
      'package.json in the tarball against the packument. Default: not looked at.',
    ),
    signatureKeys: z
      .array(text('the name of a key as in SHA256:…'))
      .optional()
      .describe('The keys that made the registry signature, as in SHA256:… Default none.'),
    vouches: z.array(vouch).optional().describe('Vouches for this version. Default none.'),
    bytes: fact('The tarball against its integrity. Default: not looked at.'),
    signed: time
      .optional()
      .describe('When it was signed, by the word of a log. Default: nobody knows.'),
  })
  .describe('What is proven about the version.')

const release = z.strictObject({
  version: text('a version'),
  published: time.optional().describe('As of the version itself.'),
  provenance: signed
    .optional()
    .describe(
      'Who signed its provenance; claimed: it has some, nobody knows whose. Default absent.',
    ),
})

const expectation = z
  .union(
    [
      choice(...decisions),
      z.strictObject({
        decision: choice(...decisions).describe('What the verdict is.'),
        reasons: z
          .array(choice(...reasonCodes))
          .optional()
          .describe('The codes of all its reasons, in any order; [] for none.'),
        rule: text('the name of a rule')
          .optional()
          .describe('The rule that governs in the policy, or defaults.'),
      }),
    ],
    { error: 'wanted allow, refuse, unavailable, or { decision: …, reasons: […], rule: … }' },
  )
  .describe('What the verdict must be.')

export const caseSchema = z.strictObject({
  name: text('the name of the case').optional().describe('Default: the package.'),
  package: text('a package as in name@1.2.3').describe('name@1.2.3'),
  upstream: text('the name of an upstream')
    .optional()
    .describe('Where it came from. Default npm.'),
  live: z
    .literal(true, { error: 'wanted true' })
    .optional()
    .describe('Looks at the package as the upstream has it, instead of given facts.'),
  now: time.optional().describe("When it is judged. Default: the file's."),
  published: time
    .optional()
    .describe("The packument's time, or the age. Default a year before now."),
  facts: facts.optional(),
  history: z.array(release).optional().describe('Earlier and later releases. Default none.'),
  expect: expectation,
})

export const casesSchema = z
  .strictObject({
    version: z.literal(1, { error: 'wanted 1' }).describe('Version of this format: 1.'),
    policies: z
      .array(text('the path of a policy file'))
      .min(1, 'wanted at least one policy file')
      .optional()
      .describe(
        'The layers that judge, relative to this file. Default: NAME.yaml beside NAME.test.yaml.',
      ),
    now: time.optional().describe('When all cases are judged. Default: the present.'),
    signers: z
      .record(z.string(), signerSchema, { error: 'wanted a mapping from names to signers' })
      .optional()
      .describe('Who signs in these cases, by name.'),
    cases: z
      .array(caseSchema, { error: 'wanted a list of cases' })
      .min(1, 'wanted at least one case')
      .describe('Each is judged by itself.'),
  })
  .describe('Cases that an Attestry policy is tested by.')

export type CasesDocument = z.output<typeof casesSchema>
export type CaseDocument = z.output<typeof caseSchema>
export type SignerDocument = z.output<typeof signerSchema>
export type FactDocument = NonNullable<NonNullable<CaseDocument['facts']>['manifest']>
export type VouchDocument = z.output<typeof vouch>
