/** The policies in force at the start: from files, or as they were published in the store. */
import { hostname } from 'node:os'
import { basename } from 'node:path'
import { keyReader } from './config/key-file.ts'
import type { Settings } from './config/settings.ts'
import { readTextFile } from './config/text-file.ts'
import { AttestryError } from './errors.ts'
import { parsePolicy } from './policy/parse.ts'
import type { Policy } from './policy/policy.ts'
import { openPublished, type Published } from './rollout/published.ts'
import { parseRevision, type Layers, type Revision } from './rollout/revision.ts'
import { joinRoster, type JoinOptions, type OwnMember } from './rollout/roster.ts'
import type { Store } from './store/store.ts'
import { version } from './version.ts'

export type PolicyOptions = {
  /** Of a process that serves: its number in its instance, counted from 1. It is put on record. */
  readonly worker?: number
  /** In place of reading a policy file. Throws EPOLICY. */
  readonly policyText?: (file: string) => Promise<string>
}

type PolicySettings = Pick<Settings, 'policies' | 'views' | 'upstreams'>

export type Rollout = {
  readonly published: Published
  /** That the policies are of. */
  readonly revision: Revision
}

/**
 * Reads the policy files; without any the built-in baseline judges. With the names of the
 * `upstreams` that are configured, a rule that reserves names for another is complained about.
 */
export const loadPolicies = async (
  files: readonly string[],
  upstreams?: readonly string[],
  read = (file: string) => readTextFile(file, 'EPOLICY'),
): Promise<readonly Policy[]> =>
  Promise.all(
    files.map(async file =>
      parsePolicy(await read(file), {
        file,
        name: basename(file),
        readKey: keyReader(file),
        ...(upstreams && { upstreams }),
      }),
    ),
  )

/** From the files that the settings name. */
export const readPolicies = async (
  settings: PolicySettings,
  policyText: PolicyOptions['policyText'],
): Promise<Layers> => {
  const upstreams = settings.upstreams.map(({ name }) => name)
  const views = new Map<string, readonly Policy[]>()
  const policies = await loadPolicies(settings.policies, upstreams, policyText)
  for (const [name, view] of Object.entries(settings.views))
    views.set(name, await loadPolicies(view.policies, upstreams, policyText))
  return { policies, views }
}

/** What is published in the store. Throws EPOLICY where it cannot be judged by, or there is none. */
export const publishedPolicies = async (
  { records, changes }: Pick<Store, 'records' | 'changes'>,
  settings: Pick<PolicySettings, 'upstreams' | 'views'>,
): Promise<{ readonly layers: Layers; readonly rollout: Rollout }> => {
  const published = openPublished(records, changes)
  const revision = await published.newest()
  if (!revision)
    throw new AttestryError(
      'EPOLICY',
      'No policy is published in the store: publish one with `attestry policy publish FILE`.',
    )
  const layers = parseRevision(revision, {
    upstreams: settings.upstreams.map(({ name }) => name),
    views: Object.keys(settings.views),
  })
  return { layers, rollout: { published, revision } }
}

/**
 * On record among the instances of the store when it resolves. Undefined where nobody asks: a store
 * of one machine whose policy comes from files.
 */
export const joinOf = async (
  worker: number,
  { records }: Pick<Store, 'records'>,
  { server, listen, storage, policySource, cluster }: Settings,
  options: Pick<JoinOptions, 'now' | 'onError'>,
): Promise<OwnMember | undefined> => {
  if (policySource === 'files' && !storage.postgres) return undefined
  const place = {
    name: server.name ?? `${hostname()}:${listen.port === 0 ? process.pid : listen.port}`,
    worker,
    workers: cluster.workers,
    version,
    source: policySource,
  }
  return joinRoster({ records, place, ...options })
}
