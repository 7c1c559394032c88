/**
 * A published policy: the texts of its files with the keys they name, so that whoever has it can
 * judge by it and needs nothing beside it. Publishing makes a new one; none is ever changed.
 */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { AttestryError, isAttestryError } from '../errors.ts'
import { parseLayers } from '../policy/parse.ts'
import type { Policy } from '../policy/policy.ts'

const layer = z.strictObject({
  /** What verdicts call the policy: the file's name without its folder. */
  name: z.string().min(1),
  text: z.string(),
  /** PEM of each key file that the text names, by the path as it is written there. */
  keys: z.record(z.string(), z.string()),
})

const digest = z.string().regex(/^[0-9a-f]{64}$/)

const revisionSchema = z.strictObject({
  format: z.literal(1),
  /** Counted from 1. */
  revision: z.int().min(1),
  /** ISO 8601, UTC. */
  at: z.string(),
  by: z.string(),
  message: z.string().optional(),
  /** The revision that this one says again. */
  again: z.int().min(1).optional(),
  /** sha256 over `layers` and `views`. */
  content: digest,
  /** As the one who published it judges by: of everybody's layers, as verdicts bear it. */
  policyDigest: digest,
  layers: z.array(layer).min(1),
  /** What views add, by their names. */
  views: z.record(z.string(), z.array(layer).min(1)),
})

export type PublishedLayer = z.output<typeof layer>
export type Revision = z.output<typeof revisionSchema>
/** What is judged by, without who published it when. */
export type Content = Pick<Revision, 'layers' | 'views'>

/** The layers of everybody, and those that views add. */
export type Layers = {
  readonly policies: readonly Policy[]
  readonly views: ReadonlyMap<string, readonly Policy[]>
}

/** Bytes of all texts together; a record of the store holds 8 MiB, in which they are escaped. */
export const contentMax = 3 * 1024 * 1024

const sorted = <T>(entries: Readonly<Record<string, T>>): readonly (readonly [string, T])[] =>
  Object.entries(entries).sort(([a], [b]) => (a < b ? -1 : 1))

const canonicalLayers = (layers: readonly PublishedLayer[]) =>
  layers.map(({ name, text, keys }) => [name, text, sorted(keys)])

/** sha256, hex. */
export const contentDigest = ({ layers, views }: Content): string =>
  createHash('sha256')
    .update(
      JSON.stringify([
        canonicalLayers(layers),
        sorted(views).map(([view, added]) => [view, canonicalLayers(added)]),
      ]),
    )
    .digest('hex')

/** Throws EPOLICY for what a newer program wrote, or nobody. */
export const readRevision = (value: unknown): Revision => {
  const read = revisionSchema.safeParse(value)
  if (!read.success) {
    const issue = read.error.issues[0]
    throw new AttestryError(
      'EPOLICY',
      `The published policy in the store cannot be read by this version: ${issue?.path.join('.')}: ${issue?.message}.`,
    )
  }
  if (contentDigest(read.data) === read.data.content) return read.data
  throw new AttestryError(
    'EPOLICY',
    `Revision ${read.data.revision} in the store is not what was published: its texts have another digest.`,
  )
}

export type ParseContent = {
  /** What complaints call a layer. */
  readonly place: (layer: PublishedLayer, view?: string) => string
  /** The upstreams that are configured. */
  readonly upstreams: readonly string[]
  /** The views that are configured. */
  readonly views: readonly string[]
}

const keyIn =
  ({ keys }: PublishedLayer) =>
  (path: string): string => {
    const text = Object.hasOwn(keys, path) ? keys[path] : undefined
    if (text !== undefined) return text
    throw new Error(`${path}: this key was not published with the policy`)
  }

/** Throws EPOLICY with every complaint, also of views that are not configured here. */
export const parseContent = (content: Content, options: ParseContent): Layers => {
  const { place, upstreams } = options
  const failed: AttestryError[] = []
  const parse = (layers: readonly PublishedLayer[], view?: string): readonly Policy[] => {
    try {
      return parseLayers(
        layers.map(one => ({
          file: place(one, view),
          name: one.name,
          text: one.text,
          readKey: keyIn(one),
        })),
        upstreams,
      )
    } catch (error) {
      if (!isAttestryError(error)) throw error
      failed.push(error)
      return []
    }
  }
  const policies = parse(content.layers)
  const views = new Map<string, readonly Policy[]>(options.views.map(view => [view, []]))
  for (const [view, layers] of sorted(content.views)) {
    if (views.has(view)) views.set(view, parse(layers, view))
    else
      failed.push(
        new AttestryError(
          'EPOLICY',
          `The policy has layers for the view ${view}, which is not configured here (views: ${options.views.join(', ') || 'none'}).`,
        ),
      )
  }
  if (failed.length === 0) return { policies, views }
  throw new AttestryError('EPOLICY', failed.map(({ message }) => message).join('\n'), {
    details: {
      complaints: failed.flatMap(({ details }) =>
        Array.isArray(details['complaints']) ? (details['complaints'] as unknown[]) : [],
      ),
    },
  })
}

/** As an instance reads what was published. */
export const parseRevision = (
  revision: Revision,
  options: Omit<ParseContent, 'place'>,
): Layers =>
  parseContent(revision, {
    ...options,
    place: ({ name }, view) =>
      `revision ${revision.revision}${view === undefined ? '' : ` (view ${view})`}: ${name}`,
  })
