/**
 * `attestry policy publish`: one command that puts a policy in force on every instance of a store,
 * and waits until each of them says that it judges by it.
 */
import { hostname, userInfo } from 'node:os'
import { resolve } from 'node:path'
import type { Settings } from '../../config/settings.ts'
import { durationWanted, parseDuration } from '../../config/units.ts'
import { didYouMean } from '../../config/nearest.ts'
import { AttestryError, isAttestryError } from '../../errors.ts'
import { policyDigest } from '../../policy/digest.ts'
import { awaitAll, type Seen } from '../../rollout/acknowledge.ts'
import { openPublished, type Published } from '../../rollout/published.ts'
import {
  contentDigest,
  parseContent,
  type Content,
  type PublishedLayer,
  type Revision,
} from '../../rollout/revision.ts'
import { assertSize, readLayer } from '../../rollout/source.ts'
import { duration } from '../audit/paint.ts'
import { helpText, parseArguments } from '../arguments.ts'
import type { Io, Run } from '../io.ts'
import { jsonText, storeJack, withStore } from '../store-session.ts'
import {
  countText,
  instancesJson,
  instancesText,
  reasonsText,
  revisionJson,
  revisionText,
} from './rollout-report.ts'

const numbers = (value: unknown) => Number.isInteger(value) && Number(value) >= 0

const options = () =>
  storeJack(
    'attestry policy publish [options] [file ...]',
    'Put policy files with the keys they name into the store, as one revision, in force on every instance with policySource: store. Without files those of the settings. What is wrong with them is told as by policy check, and nothing is published then. Waits until all instances judge by it (exit code 0), or tells which do not and why (2).',
  )
    .optList({
      view: {
        hint: 'name=file',
        description:
          'What a view adds; again for further files. name= takes away what it added. Views that are not named keep what they have.',
      },
    })
    .opt({
      message: { short: 'm', hint: 'text', description: 'Why; kept with the revision.' },
      by: { hint: 'name', description: 'Who publishes; default the user and the host.' },
      wait: { hint: 'duration', description: 'How long to wait for instances; default 10s.' },
    })
    .num({
      revision: {
        hint: 'number',
        description: 'Publish an older revision again, in place of files.',
        validate: numbers,
      },
      expect: {
        hint: 'number',
        description: 'Only if this revision is in force; 0 where none is.',
        validate: numbers,
      },
    })

type Values = ReturnType<ReturnType<typeof options>['parse']>['values']

const usage = (message: string) => new AttestryError('EUSAGE', `policy publish: ${message}`)

/** What the command line or the settings name; a part that is not named stays as it is. */
type Named = {
  readonly layers?: readonly string[]
  readonly views: ReadonlyMap<string, readonly string[]>
}

const namedOf = (
  values: Values,
  positionals: readonly string[],
  settings: Settings,
  cwd: string,
): Named => {
  const known = Object.keys(settings.views)
  const views = new Map<string, readonly string[]>()
  for (const given of values.view ?? []) {
    const [, name = '', file = ''] = /^([^=]+)=(.*)$/s.exec(given) ?? []
    if (name === '') throw usage(`--view: wanted name=file, found ${JSON.stringify(given)}`)
    if (file !== '' && !known.includes(name))
      throw usage(
        `there is no view ${JSON.stringify(name)}${didYouMean(name, known)}; the settings name ${known.join(', ') || 'none'}`,
      )
    const more = file === '' ? [] : [resolve(cwd, file)]
    views.set(name, [...(views.get(name) ?? []), ...more])
  }
  if (positionals.length > 0)
    return { layers: positionals.map(file => resolve(cwd, file)), views }
  if (views.size > 0) return { views }
  if (settings.policies.length === 0) throw usage('wanted the policy files, or --revision')
  return {
    layers: settings.policies,
    views: new Map(
      Object.entries(settings.views).map(([view, { policies }]) => [view, policies]),
    ),
  }
}

/** Layers by their files, to tell where complaints are; those that stay have none. */
type Read = { readonly content: Content; readonly files: ReadonlyMap<PublishedLayer, string> }

const readNamed = async (
  { layers, views }: Named,
  upstreams: readonly string[],
): Promise<(before: Revision | undefined) => Read> => {
  const files = new Map<PublishedLayer, string>()
  const readAll = async (paths: readonly string[]): Promise<PublishedLayer[]> => {
    const all: PublishedLayer[] = []
    for (const path of paths) {
      const layer = await readLayer(path, upstreams)
      files.set(layer, path)
      all.push(layer)
    }
    return all
  }
  const base = layers && (await readAll(layers))
  const added = new Map<string, PublishedLayer[]>()
  for (const [view, paths] of views) added.set(view, await readAll(paths))
  return before => {
    const content = {
      layers: base ?? before?.layers ?? [],
      views: Object.fromEntries(
        [...Object.entries(before?.views ?? {}), ...added].flatMap(([view, found]) => {
          const now = added.get(view) ?? found
          return now.length > 0 ? [[view, now] as const] : []
        }),
      ),
    }
    if (content.layers.length === 0)
      throw usage('nothing is published yet: name the policy files of everybody as well')
    return { content, files }
  }
}

const olderOf = async (published: Published, number: number): Promise<Read> => {
  const found = await published.revision(number)
  if (!found)
    throw new AttestryError('ENOTFOUND', `The store has no revision ${number} of the policy.`)
  const { layers, views } = found
  return { content: { layers, views }, files: new Map() }
}

const publisher = (): string => {
  let user: string
  try {
    user = userInfo().username
  } catch {
    // a container whose user has no name
    user = `uid ${process.getuid?.() ?? '-'}`
  }
  return `${user}@${hostname()}`
}

/** As every instance will read it: what an instance of these settings cannot judge by is not published. */
const digestOf = ({ content, files }: Read, { upstreams, views }: Settings): string => {
  assertSize(content)
  const layers = parseContent(content, {
    place: layer => files.get(layer) ?? layer.name,
    upstreams: upstreams.map(({ name }) => name),
    views: Object.keys(views),
  })
  return policyDigest(layers.policies)
}

const tell = (
  io: Io,
  values: Values,
  done: { readonly revision: Revision; readonly fresh: boolean },
  seen: readonly Seen[],
  milliseconds: number,
): number => {
  const { revision, fresh } = done
  const now = new Date()
  // those of files are no concern of a store that nobody takes its policy from yet
  const followers = seen.filter(({ standing }) => standing !== 'files')
  const ok = seen.every(({ standing }) => standing === 'acknowledged') || followers.length === 0
  if (values.json) {
    io.stdout.write(
      jsonText({
        published: fresh,
        ...revisionJson(revision),
        acknowledged: ok,
        milliseconds: Math.round(milliseconds),
        instances: instancesJson(seen, now),
      }),
    )
    return ok ? 0 : 2
  }
  io.stdout.write(`${fresh ? 'Published' : 'Unchanged'}: ${revisionText(revision)}\n`)
  if (followers.length === 0)
    io.stdout.write('No instance takes its policy from the store yet (policySource: store).\n')
  if (seen.length > 0) io.stdout.write(`\n${instancesText(seen, now)}\n`)
  if (followers.length === 0) return 0
  if (ok) io.stdout.write(`${countText(seen)} judge by it, after ${duration(milliseconds)}.\n`)
  else io.stdout.write(`Not all judge by it:\n${reasonsText(seen, now)}`)
  return ok ? 0 : 2
}

export const publish: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const { revision: older, expect } = values
  if (older !== undefined && (positionals.length > 0 || values.view !== undefined))
    throw usage('wanted files or --revision, not both')
  const wait = parseDuration(values.wait ?? '10s')
  if (wait === undefined) throw usage(`--wait: ${durationWanted}`)
  return withStore(values, io, async ({ records, changes }, settings) => {
    const upstreams = settings.upstreams.map(({ name }) => name)
    const published = openPublished(records, changes)
    const named =
      older === undefined &&
      (await readNamed(namedOf(values, positionals, settings, io.cwd), upstreams))
    const before = await published.newest()
    if (expect !== undefined && expect !== (before?.revision ?? 0))
      throw new AttestryError(
        'ESUPERSEDED',
        `Nothing was published: revision ${before?.revision ?? 0} is in force, and ${expect} was expected.`,
      )
    const read = named ? named(before) : await olderOf(published, older ?? 0)
    const digest = digestOf(read, settings)
    const fresh = before?.content !== contentDigest(read.content)
    const revision =
      before && !fresh
        ? before
        : await published.publish(
            {
              content: read.content,
              policyDigest: digest,
              by: values.by ?? publisher(),
              message: values.message,
              again: older,
              at: new Date(),
            },
            before,
          )
    const started = performance.now()
    const seen = await awaitAll({ records, revision, wait }).catch((error: unknown) => {
      if (!isAttestryError(error)) throw error
      const message = `Revision ${revision.revision} is published, but it cannot be told who judges by it: ${error.message}`
      throw new AttestryError(error.code, message, { cause: error })
    })
    return tell(io, values, { revision, fresh }, seen, performance.now() - started)
  })
}
