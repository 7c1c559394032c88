/** The settings of upstreams: part of the schema in schema.ts. */
import { z } from 'zod'
import { parsePattern } from '../policy/match.ts'
import { npmRegistry } from '../upstream/default-registry.ts'
import { baseUrl, choice, duration, integer, leafInfo, origin, path, secret } from './leaves.ts'
import { registryKeys, trustRoots } from './trust-schema.ts'
import { parseDuration } from './units.ts'

const ms = (text: string) => parseDuration(text) ?? Number.NaN

/** Stays text in the settings; what it means is in lib/policy/match.ts, the same as in policies. */
const pattern = z
  .string({ error: 'wanted the name of a package' })
  .superRefine((text, context) => {
    const parsed = parsePattern(text)
    const complaint =
      'complaint' in parsed
        ? parsed.complaint
        : parsed.kind === 'all'
          ? 'is every package; the first upstream has those that no other one names'
          : parsed.kind === 'exact' && parsed.version !== undefined
            ? `names a version; write "${parsed.name}"`
            : undefined
    if (complaint !== undefined) context.addIssue({ code: 'custom', message: complaint })
  })

const upstream = z.strictObject({
  url: baseUrl(
    "The registry. Without it the upstream named `npm` is npm's own default registry; every other upstream needs one.",
  ).optional(),
  registryKeys: registryKeys.prefault('auto'),
  token: secret(
    'Bearer token, sent below `url` only. Not together with `username`.',
  ).optional(),
  username: secret('For basic authentication, with `password`.').optional(),
  password: secret('For basic authentication, with `username`.').optional(),
  packages: z
    .array(pattern, { error: 'wanted a list of package names' })
    .describe(
      'Names that come from this upstream and from nowhere else: a name, `@scope/*`, or `name-*`. They are never asked of another upstream, also when this one does not have them or does not answer.',
    )
    .register(leafInfo, {
      type: 'list of names',
      list: true,
      json: { type: 'array', items: { type: 'string' } },
    })
    .prefault([]),
  evidenceFrom: z
    .string({ error: 'wanted the name of an upstream' })
    .describe(
      'Another upstream whose packuments, signatures and attestations count, while tarballs come from this one; a version on whose integrity the two disagree is refused.',
    )
    .register(leafInfo, { type: 'name of an upstream' })
    .optional(),
  trustRoots: trustRoots(
    'Trust roots that count for this upstream, in place of those in `trust.roots`.',
  ).optional(),
  passThrough: choice(
    'What Attestry does not answer itself and passes on to this upstream: `read` is search, advisories, whoami and the like, `write` is also login, publish, dist-tags and everything else that changes something.',
    ['off', 'read', 'write'],
  ).default('read'),
  clientCredentials: choice(
    "Whether requests that are passed on take the client's own token or password along. Nothing else ever does.",
    ['never', 'forward'],
  ).default('never'),
  signing: z
    .strictObject({
      keys: path(
        'Folder of the keys (`attestry keys create`) that sign what is published to this upstream through Attestry, or with `attestry sign`. Only names in `packages` are signed.',
        'folder',
      ),
      passphrase: secret('Of the private keys in it.').optional(),
    })
    .describe('Registry signatures of our own.')
    .optional(),
  timeout: duration(
    'How long the upstream may be silent: while connecting (at most 10s of it), before the answer and inside it. A document may take 4 times this altogether, a tarball 20 times.',
    { min: 10, max: ms('1h') },
  ).prefault('30s'),
  connections: integer('Connections open at once to one host.', { min: 1, max: 1024 }).default(
    32,
  ),
  retries: integer('How often a failed request is made again: no connection, 429 and 5xx.', {
    min: 0,
    max: 10,
  }).default(2),
  ca: path(
    'PEM file of certificate authorities to trust for this upstream besides the usual ones.',
    'file',
  ).optional(),
  tarballOrigins: z
    .array(origin('An origin.'), { error: 'wanted a list of origins' })
    .describe(
      "Other origins that this upstream's packuments may name for tarballs, as in `https://files.example`. Never sent credentials.",
    )
    .register(leafInfo, { type: 'list of origins', list: true })
    .prefault([]),
})

/** The upstream's name is part of log lines, metrics and variables. */
const upstreamName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,39}$/, { error: 'wanted a name of a to z, 0 to 9 and -' })

export const upstreams = z
  .record(upstreamName, upstream, { error: 'wanted a mapping of names to upstreams' })
  .transform((named, context) => {
    const taken = new Map<string, string>()
    return Object.entries(named).map(([name, settings]) => {
      const { token, username, password } = settings
      const complain = (message: string, ...path: string[]) =>
        context.addIssue({ code: 'custom', message, path: [name, ...path] })
      if (token && (username || password))
        complain('wanted either token or username and password, not both')
      if (!username !== !password) complain('wanted username and password together')
      const url = settings.url ?? (name === 'npm' ? npmRegistry : undefined)
      if (url === undefined) complain('wanted url: only the upstream named npm has a default')
      const { evidenceFrom } = settings
      if (evidenceFrom !== undefined) {
        const others = Object.keys(named).filter(other => other !== name)
        const source = Object.hasOwn(named, evidenceFrom) ? named[evidenceFrom] : undefined
        if (!source || evidenceFrom === name)
          complain(
            `wanted another upstream: ${others.join(', ') || 'there is none'}`,
            'evidenceFrom',
          )
        else if (source.evidenceFrom !== undefined)
          complain(`${evidenceFrom} has its evidence from elsewhere itself`, 'evidenceFrom')
        if (settings.signing)
          complain(`what ${evidenceFrom} says of these packages counts; sign there`, 'signing')
      }
      for (const [i, text] of settings.packages.entries()) {
        const other = taken.get(text)
        if (other !== undefined) complain(`${other} has it already`, 'packages', String(i))
        taken.set(text, name)
      }
      return { ...settings, name, url: url ?? '' }
    })
  })
  .refine(list => list.length > 0, { error: 'wanted at least one upstream' })
  .describe(
    'Registries by name. The first one answers for every package that no rule sends elsewhere.',
  )
