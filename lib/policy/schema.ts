/**
 * The policy language as it is written: shapes and descriptions. From here come the check and
 * config/policy.schema.json. What shapes cannot say (names that must exist, patterns, ranges)
 * compile.ts checks.
 */
import { z } from 'zod'
import { durationPattern, durationWanted, endPattern, endWanted } from './duration.ts'
import { presetFields, triggerField } from './preset-schema.ts'

const text = (wanted: string, most = 500) =>
  z
    .string({ error: `wanted ${wanted}, in quotes` })
    .check(
      z.minLength(1, `wanted ${wanted}`),
      z.maxLength(most, `wanted at most ${most} characters`),
    )
const choice = <const T extends readonly [string, ...string[]]>(...words: T) =>
  z.enum(words, { error: `wanted ${words.slice(0, -1).join(', ')} or ${words.at(-1)}` })

const durationOr = (word: string) => {
  const error = `${durationWanted}, or ${word}`
  const duration = z.string({ error }).regex(new RegExp(durationPattern), { error })
  return z.union([z.literal(word, { error }), duration], { error }).optional()
}

const mapping = (example: string) => ({
  error: (issue: { readonly code?: string | undefined }) =>
    issue.code === 'invalid_type' ? `wanted ${example}` : undefined,
})

const mode = choice('enforce', 'observe')
const presence = choice('required', 'if-present', 'ignore')

const end = z
  .string({ error: endWanted })
  .regex(new RegExp(endPattern), { error: endWanted })
  .optional()

const field = (wanted: string, description: string) =>
  text(wanted).optional().describe(description)

export const identitySchema = z
  .strictObject({
    issuer: field(
      'the address of an OIDC issuer',
      'Who vouched for the signer: the OIDC issuer, compared exactly. Needed in every identity.',
    ),
    subject: field(
      'a subject alternative name',
      "The certificate's subject alternative name: a URI or an e-mail address. A URI may hold * and ** behind its owner, and {version}.",
    ),
    repository: field(
      'a repository address',
      'The repository that was built, as in https://github.com/owner/name. May hold * and ** behind the owner.',
    ),
    repositoryId: field(
      'the number of a repository',
      'Its number, which survives renames and is not given out again.',
    ),
    owner: field(
      'the address of an owner',
      'The owner of the repository, as in https://github.com/owner.',
    ),
    ownerId: field('the number of an owner', "The owner's number."),
    workflow: field(
      'the path of a workflow file',
      'The workflow file inside that repository, as in .github/workflows/release.yml. May hold * and **.',
    ),
    signer: field(
      'the address of a workflow with its ref',
      'The workflow that ran the signing job, with its ref; another repository when it is a reusable one. May hold * and ** behind its owner, and {version}.',
    ),
    ref: field(
      'a git ref',
      'The git ref that was built, as in refs/heads/main or refs/tags/v{version}. May hold * and **.',
    ),
    commit: field('a commit', 'The commit that was built.'),
    trigger: triggerField,
    runner: field('a kind of runner', 'Where it ran: github-hosted or self-hosted.'),
    environment: field('the name of an environment', 'The deployment environment.'),
    visibility: field(
      'public, private or internal',
      'Whether the repository was public when it was built.',
    ),
    key: text("the path of a PEM file, PEM, or a key's name", 2000)
      .optional()
      .describe(
        'A public key of your own, in place of a certificate: the path of a PEM file (relative to this file), PEM, or SHA256:… as `attestry vouch` tells it. For vouch and signature.',
      ),
    validFrom: end.describe('Beside key: signatures before this day or instant do not count.'),
    validUntil: end.describe('Beside key: signatures after this day or instant do not count.'),
    ...presetFields,
  })
  .describe('Who signed. Every field given must match.')

const provenance = z
  .union(
    [
      text('a word or the name of an identity'),
      identitySchema,
      z.array(z.union([text('the name of an identity'), identitySchema])).min(1),
    ],
    {
      error:
        'wanted ignore, if-present, required, any, the name of an identity, an identity, or a list of these two',
    },
  )
  .optional()
  .describe(
    'ignore; if-present: what is claimed must verify; required or any: by whomsoever; else the identity that must have signed, or a list of which one must.',
  )

const signers = z.union(
  [
    text('the name of an identity'),
    identitySchema,
    z
      .array(z.union([text('the name of an identity'), identitySchema]))
      .min(1, 'wanted at least one identity'),
  ],
  { error: 'wanted the name of an identity, an identity, or a list of these' },
)

const requirementShape = {
  registrySignature: presence
    .optional()
    .describe("The registry's signature over name, version and integrity."),
  publishAttestation: presence
    .optional()
    .describe("The registry's attestation that it published this version."),
  provenance,
  manifest: choice('if-present', 'ignore')
    .optional()
    .describe('Whether package.json in the tarball must agree with the packument.'),
  vouch: signers
    .optional()
    .describe(
      'Who must have vouched for exactly this version and its bytes: an identity, or a list of which one must. What is ignored beside it may be absent, but not forged.',
    ),
  signature: signers
    .optional()
    .describe(
      'Whose key must have made the registry signature: an identity with key, or a list of which one must.',
    ),
}

export const requirementSchema = z
  .strictObject(requirementShape)
  .describe('What must hold. What is not given is taken from defaults.require.')

const ruleRequirement = z
  .strictObject({
    ...requirementShape,
    anyOf: z
      .array(requirementSchema)
      .min(1, 'wanted at least one alternative')
      .optional()
      .describe('Alternatives, one of which must hold, beside what is given next to it.'),
  })
  .describe('What must hold. What is not given is taken from defaults.require.')

const level = choice('off', 'release-line', 'package')
const continuity = z
  .union(
    [
      level,
      z.strictObject({
        level,
        settledAfter: durationOr('never').describe(
          'Age from which a lost provenance is no longer held against a version, if a later release has it again. Default 90d.',
        ),
      }),
    ],
    { error: 'wanted off, release-line, package, or { level: …, settledAfter: 90d }' },
  )
  .optional()
  .describe(
    'What may not be lost from one release to the next: provenance and publisher, within the release line (the same major version) or the whole package.',
  )

const minimumAge = durationOr('off').describe(
  'How long a version must have been public, as in 30m, 12h, 3d or 2w; or off.',
)

const where = z
  .string({ error: `wanted a condition in quotes, as in 'pkg.version != "0.0.0"'` })
  .check(z.minLength(1, 'wanted a condition'))
  .optional()
  .describe(
    'A condition in CEL that must hold besides, as in pkg.ageHours > 24 || provenance == "verified".',
  )

const deny = z
  .strictObject({ reason: text('why it is refused') }, mapping('{ reason: … }'))
  .optional()
  .describe('Refuses, whatever the evidence.')

const packages = z
  .array(text('a package name or pattern'), { error: 'wanted a list of package names' })
  .min(1, 'wanted at least one package')
  .describe('Names, name@1.2.3, "@scope/*", "name-*" or "*". One of them must match.')

const versions = text('a range as in ">=2.0.0"')
  .optional()
  .describe('A semver range; prereleases belong to the range they lie in.')

const { key: _key, ...identityShape } = identitySchema.shape

const publisherSchema = z
  .strictObject({
    packages,
    versions,
    provenance: z
      .union(
        [
          text('the name of an identity'),
          z.array(text('the name of an identity')).min(1, 'wanted the name of an identity'),
        ],
        { error: 'wanted the name of an identity, or a list of them' },
      )
      .optional()
      .describe('Names of identities, one of which must have signed, in place of one here.'),
    ...identityShape,
  })
  .describe('Packages, and who must have signed them.')

export const ruleSchema = z.strictObject({
  name: text('the name of the rule')
    .optional()
    .describe('Shown with every verdict. Default: rule N.'),
  packages: packages.optional(),
  versions,
  publishers: z
    .array(publisherSchema, { error: 'wanted a list of publishers' })
    .min(1, 'wanted at least one publisher')
    .optional()
    .describe(
      'In place of packages: many packages, each list of them with who must have signed it.',
    ),
  each: z
    .strictObject(identityShape, mapping('{ trigger: push }'))
    .optional()
    .describe('Beside publishers: what those that are written there all share.'),
  upstream: text('the name of an upstream')
    .optional()
    .describe('Reserves these names: they come from this upstream and from no other.'),
  mode: mode.optional().describe("Default: the file's mode."),
  require: ruleRequirement.optional(),
  allow: z
    .strictObject(
      {
        reason: text('why it is let in'),
        by: text('who decided').optional(),
        until: end.describe('A day (through its end, UTC) or an instant.'),
      },
      mapping('{ reason: …, until: … }'),
    )
    .optional()
    .describe('A waiver: admits whatever the evidence, except bytes that do not match.'),
  deny,
  continuity,
  minimumAge,
  where,
})

export const policySchema = z
  .strictObject({
    version: z.literal(1, { error: 'wanted 1' }).describe('Version of the policy language: 1.'),
    mode: mode
      .optional()
      .describe('enforce refuses; observe lets through and records. Default enforce.'),
    identities: z
      .record(
        z
          .string()
          .regex(
            /^[A-Za-z][A-Za-z0-9._-]{0,99}$/,
            'wanted a name of letters, digits, dots, dashes and underscores',
          ),
        identitySchema,
        { error: 'wanted a mapping from names to identities' },
      )
      .optional()
      .describe('Who may sign, by name.'),
    rules: z
      .array(ruleSchema, { error: 'wanted a list of rules' })
      .optional()
      .describe('The first rule that matches governs.'),
    defaults: z
      .strictObject({
        require: requirementSchema.optional(),
        deny,
        continuity,
        minimumAge,
        where,
      })
      .optional()
      .describe('What no rule matched, and what rules take over where they say nothing.'),
  })
  .describe('An Attestry policy.')

export type PolicyDocument = z.output<typeof policySchema>
export type RuleDocument = z.output<typeof ruleSchema>
export type PublisherDocument = z.output<typeof publisherSchema>
export type RequirementDocument = z.output<typeof ruleRequirement>
export type IdentityDocument = z.output<typeof identitySchema>
