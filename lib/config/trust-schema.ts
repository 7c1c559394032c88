/** Where trusted roots and registry keys come from: part of the schema in schema.ts. */
import { z } from 'zod'
import { baseUrl, leafInfo, path } from './leaves.ts'

const words = (wanted: string, check: (text: string) => string | undefined) =>
  z.string({ error: wanted }).superRefine((text, context) => {
    const message = check(text)
    if (message !== undefined) context.addIssue({ code: 'custom', message })
  })

const list = (item: z.ZodType<string>, wanted: string) =>
  z.array(item, { error: wanted }).min(1, { error: wanted })

const issuerWanted = 'wanted the URL of an OIDC issuer, as its tokens have it'
const issuers = list(
  words(issuerWanted, text => (/^https?:\/\/[^\s*]+$/.test(text) ? undefined : issuerWanted)),
  'wanted a list of OIDC issuers',
).describe('The root speaks for certificates of these issuers only; compared whole.')

const subjectWanted =
  'wanted a pattern of certificate subjects, as in "https://github.com/acme/**@refs/tags/*"'
const subjects = list(
  words(subjectWanted, text => {
    if (text === '') return subjectWanted
    return /[^*@/]/.test(text) ? undefined : 'matches anybody; leave subjects out for that'
  }),
  'wanted a list of patterns of certificate subjects',
).describe(
  'The root speaks for certificates of these subjects only: anchored patterns, `*` within a part and `**` across parts, as in policies.',
)

const timeWanted = 'wanted an ISO 8601 time, as in 2026-01-31T00:00:00Z'
const time = (description: string) =>
  words(timeWanted, text =>
    /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?Z)?$/.test(text) && !Number.isNaN(Date.parse(text))
      ? undefined
      : timeWanted,
  )
    .transform(text => new Date(text).toISOString())
    .describe(description)

const until = time('When it ended or will end; what was signed before stays proven.').optional()

const authority = z.strictObject({
  certificates: path('PEM: the issuing certificate first, the root last.', 'file'),
  from: time('When it began to count; default the beginning of its certificates.').optional(),
  until,
})

const log = z.strictObject({
  key: path("PEM: the log's public key.", 'file'),
  from: time('When it began to count.'),
  until,
  url: baseUrl(
    'Where the log is. Needed for logs that sign with Ed25519: their checkpoints name it.',
  ).optional(),
})

const keys = z
  .strictObject({
    certificateAuthorities: z.array(authority).optional(),
    tlogs: z.array(log).min(1, { error: 'wanted at least one log' }),
    ctlogs: z.array(log).optional(),
    timestampAuthorities: z.array(authority).optional(),
  })
  .superRefine(({ certificateAuthorities, ctlogs }, context) => {
    const certificates = (certificateAuthorities ?? []).length > 0
    if (certificates && (ctlogs ?? []).length === 0)
      context.addIssue({
        code: 'custom',
        message: 'wanted ctlogs too: a certificate is proven with the log it was put in',
        path: ['certificateAuthorities'],
      })
  })

const target = z
  .string()
  .regex(/^[\w.@-]+(\/[\w.@-]+)*$/, { error: 'wanted the path of a TUF target' })
const tufRoot = path(
  "The TUF repository's root metadata, got in a way you trust; default sigstore's.",
  'file',
)

const places = ['publicGood', 'file', 'tuf', 'archive', 'keys'] as const
const wanted =
  'wanted public-good, or a mapping with one of file, tuf, archive, keys and publicGood'

const rootObject = z
  .strictObject(
    {
      publicGood: z.literal(true, { error: 'wanted true' }).optional(),
      file: path('A sigstore `trusted_root.json`.', 'file').optional(),
      tuf: z
        .strictObject({
          mirror: baseUrl('The TUF repository: below it are its metadata and `targets/`.'),
          root: tufRoot.optional(),
          target: target.optional(),
        })
        .optional(),
      archive: z
        .union([
          path('A TUF repository as tar.gz.', 'file'),
          z.strictObject({
            file: path('A TUF repository as tar.gz.', 'file'),
            root: tufRoot.optional(),
            target: target.optional(),
          }),
        ])
        .optional(),
      keys: keys.optional(),
      issuers: issuers.optional(),
      subjects: subjects.optional(),
    },
    { error: issue => (issue.code === 'invalid_type' ? wanted : undefined) },
  )
  .superRefine((value, context) => {
    if (places.filter(key => value[key] !== undefined).length !== 1)
      context.addIssue({ code: 'custom', message: wanted })
  })

const root = z.union([z.enum(['public-good'], { error: wanted }), rootObject], {
  error: wanted,
})

type Root = z.output<typeof root>

/** As lib/trust/source.ts has them. */
const sourceOf = (value: Root) => {
  if (typeof value === 'string') return { kind: 'public-good' as const }
  const { file, tuf, archive, keys: own, issuers: of, subjects: about } = value
  const scope = { ...(of && { issuers: of }), ...(about && { subjects: about }) }
  const given = <T extends object>(object: T) =>
    Object.fromEntries(Object.entries(object).filter(([, inner]) => inner !== undefined)) as {
      [K in keyof T]: Exclude<T[K], undefined>
    }
  if (file !== undefined) return { kind: 'file' as const, file, ...scope }
  if (tuf) return { kind: 'tuf' as const, ...given(tuf), ...scope }
  if (archive !== undefined) {
    const { file: tar, ...rest } = typeof archive === 'string' ? { file: archive } : archive
    return { kind: 'archive' as const, archive: tar, ...given(rest), ...scope }
  }
  if (own) return { kind: 'keys' as const, keys: own, ...scope }
  return { kind: 'public-good' as const, ...scope }
}

export const trustRoots = (description: string) =>
  z
    .array(root.transform(sourceOf), { error: 'wanted a list' })
    .min(1, { error: 'wanted at least one trust root' })
    .describe(description)
    .register(leafInfo, {
      type: 'list of `public-good` or `{ file: … }` and the like, see [trust.md](trust.md)',
      list: true,
      fileForm: true,
    })

export const registryKeys = z
  .union(
    [
      z.enum(['auto', 'bundled', 'tuf', 'none']),
      z.strictObject({
        file: path(
          'A keys document as a registry serves it, or as sigstore distributes it.',
          'file',
        ),
      }),
    ],
    { error: 'wanted auto, tuf, bundled, none or { file: … }' },
  )
  .transform(value =>
    typeof value === 'object' ? { kind: 'file' as const, file: value.file } : { kind: value },
  )
  .describe(
    "Whose signatures count for this registry: `tuf` are the keys that the TUF repositories of its trust roots have for it, else for npm's registry; `bundled` are npm's as they came with this version; `auto` is `tuf` where a root has keys and `bundled` elsewhere; `none` takes no signature for proof.",
  )
  .register(leafInfo, {
    type: '`auto`, `tuf`, `bundled`, `none` or `{ file: … }`',
    fileForm: true,
  })
