/** Settings of who may use the server and how it is reached: tokens, issuers, views, proxies, certificates. */
import { isIP } from 'node:net'
import { z } from 'zod'
import { leafInfo, path, secret } from './leaves.ts'

/** Part of addresses, log lines and variables. `latest` would hide a dist-tag of the package `v`. */
const shortName = (what: string) =>
  z.string().regex(/^(?!latest$)[a-z][a-z0-9-]{0,39}$/, {
    error: `wanted ${what} of a to z, 0 to 9 and -`,
  })

const text = (description: string, wanted: string, fits: (value: string) => boolean) =>
  z
    .string({ error: wanted })
    .refine(fits, { error: wanted })
    .describe(description)
    .register(leafInfo, { type: 'text' })

const LOOPBACK = /^http:\/\/(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?(\/|$)/

const isIssuer = (value: string) =>
  URL.canParse(value) &&
  (value.startsWith('https://') || LOOPBACK.test(value)) &&
  !/[?#]/.test(value)

/**
 * Claims that say whose token it is: a star before the owner's name has ended would let in owners
 * whose names begin alike.
 */
const OWNED = new Set(['sub', 'repository', 'project_path', 'job_workflow_ref', 'workflow_ref'])
const WHOLE = new Set([
  'repository_owner',
  'repository_owner_id',
  'repository_id',
  'namespace_path',
])

/** What is wrong with the pattern for a claim, if anything. */
export const claimComplaint = (claim: string, pattern: string): string | undefined => {
  const star = pattern.indexOf('*')
  if (star === -1) return undefined
  if (WHOLE.has(claim)) return `wanted ${claim} without *`
  return OWNED.has(claim) && !pattern.slice(0, star).includes('/')
    ? `wanted the owner in full before the first *, as in acme/*`
    : undefined
}

const patternWanted = 'wanted text, or a list of texts, none of them empty'
const onePattern = z.string({ error: patternWanted }).min(1, { error: patternWanted })

const claimPattern = z
  .union([onePattern, z.array(onePattern).min(1, { error: patternWanted })], {
    error: patternWanted,
  })
  .transform(value => (typeof value === 'string' ? [value] : value))
  .describe(
    'What the claim of this name must say, exact or with `*` (within a segment) and `**`; of a list any.',
  )
  .register(leafInfo, { type: 'text or list of texts', list: true })

const issuer = z.strictObject({
  issuer: text(
    'The issuer, exactly as its tokens name it; its keys come from its discovery document.',
    'wanted the https URL of an issuer, without ? and #',
    isIssuer,
  ),
  audience: text(
    'Whom tokens must be made for; choose a name that nobody else uses, such as `publicUrl`.',
    'wanted text that is not empty',
    value => value.length > 0,
  ),
  claims: z
    .record(z.string().min(1), claimPattern, {
      error: 'wanted a mapping of claims to patterns',
    })
    .superRefine((claims, context) => {
      const all = Object.entries(claims)
      for (const [claim, patterns] of all) {
        for (const pattern of patterns) {
          const message = claimComplaint(claim, pattern)
          if (message) context.addIssue({ code: 'custom', message, path: [claim] })
        }
      }
      const binding = all.some(([, patterns]) => patterns.every(p => /[^*]/.test(p)))
      if (!binding)
        context.addIssue({
          code: 'custom',
          message: 'wanted at least one claim: an issuer makes tokens for everybody',
        })
    }),
  view: text(
    'The view these tokens are judged in.',
    'wanted the name of a view',
    value => value.length > 0,
  ).optional(),
})

export const oidc = z
  .record(shortName('a name'), issuer, { error: 'wanted a mapping of names to issuers' })
  .describe(
    'Whose OIDC tokens are taken, by a name of yours. The first that a token fits says its view.',
  )
  .default({})

const view = z.strictObject({
  policies: z
    .array(path('A policy file.', 'file'), { error: 'wanted a list of files' })
    .describe(
      'Policy files that must allow as well, on top of `policies`; needed, but with `policySource: store`.',
    )
    .register(leafInfo, { type: 'list of files', list: true })
    .default([]),
})

export const views = z
  .record(shortName('a name'), view, { error: 'wanted a mapping of names to views' })
  .describe('What teams add to the policies: chosen by a token, or by the path /v/NAME/.')
  .default({})

export const instanceName = text(
  "What this instance is called among several, each by another name. Default: the host's name and the port.",
  'wanted a name of at most 100 characters',
  value => /^[^\s\p{C}][^\p{C}]{0,99}$/u.test(value),
)

/** `address` or `address/bits`. */
const isNetwork = (value: string): boolean => {
  const [address = '', bits, ...more] = value.split('/')
  const version = isIP(address)
  if (version === 0 || more.length > 0) return false
  return (
    bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
  )
}

export const trustedProxies = z
  .array(
    z.string().refine(isNetwork, { error: 'wanted an address or a network, as in 10.0.0.0/8' }),
    { error: 'wanted a list of addresses and networks' },
  )
  .describe(
    'Reverse proxies whose X-Forwarded-For names the client in the log and the audit record; `publicUrl` alone says how clients reach us.',
  )
  .register(leafInfo, { type: 'list of addresses or networks', list: true })
  .default([])

export const tls = z
  .strictObject({
    cert: path(
      'PEM file of the certificate and its chain; read again when it changes.',
      'file',
    ),
    key: path('PEM file of the private key.', 'file'),
  })
  .describe('Serve HTTPS. Without it put TLS in front of the server.')
  .optional()

export const adminToken = secret(
  'Bearer token that metrics ask for; without it they are open. Health is always open.',
).optional()
