/** What `serve` does about policies while it runs: follows their files, and tells of waivers. */
import type { Settings } from '../config/settings.ts'
import type { observe } from '../observe/events.ts'
import type { Log } from '../observe/log.ts'
import { inForce } from '../policy/baseline.ts'
import type { Policy } from '../policy/policy.ts'
import { openReload, type ReloadOptions } from './reload.ts'
import { openWaiverWatch } from './waiver-watch.ts'

/** What judges by policies: a gate, or those of all workers. */
export type Judging = {
  /** Over all layers in force now. */
  readonly policyDigest: string
  readonly adopt: ReloadOptions['adopt']
}

export type FollowOptions = {
  /** In force at the start: those of everybody, and what each view adds. */
  readonly policies: readonly Policy[]
  readonly views: ReadonlyMap<string, readonly Policy[]>
  readonly judging: (view?: string) => Judging
  readonly settings: Pick<Settings, 'policies' | 'views' | 'upstreams'>
  readonly observer: Pick<
    ReturnType<typeof observe>,
    'onPolicies' | 'onPolicyRefused' | 'onPolicyRestored' | 'onWaivers'
  >
  readonly log: Pick<Log, 'info'>
}

/** The layers of everybody, and those that each view adds. */
type Part = {
  readonly view?: string
  readonly files: readonly string[]
  readonly policies: readonly Policy[]
  readonly gate: Judging
}

const partsOf = ({ policies, views, judging, settings }: FollowOptions): readonly Part[] => [
  { files: settings.policies, policies, gate: judging() },
  ...Array.from(views, ([view, layers]) => ({
    view,
    files: settings.views[view]?.policies ?? [],
    policies: layers,
    gate: judging(view),
  })),
]

/** Follows until closed; SIGHUP reads at once. */
export const followPolicies = (options: FollowOptions) => {
  const { settings, observer, log } = options
  const upstreams = settings.upstreams.map(({ name }) => name)
  const followed = partsOf(options).map(part => {
    const { view, files, policies, gate } = part
    const named = view === undefined ? {} : { view }
    const reload = openReload({
      files,
      upstreams,
      policies,
      adopt: gate.adopt,
      onAdopted: () => {
        observer.onPolicies(all(), seen())
        waivers.tell()
      },
      onRefused: error => observer.onPolicyRefused(error, view),
      onRestored: () => observer.onPolicyRestored(view),
    })
    /** As they are now: what everybody has in force changes the digest of views too. */
    const seen = () => {
      const layers = reload.policies()
      const told = view === undefined ? inForce(layers) : layers
      return { ...named, digest: gate.policyDigest, names: told.map(({ name }) => name) }
    }
    return { view, reload, seen }
  })
  const all = () => followed.map(({ seen }) => seen())
  observer.onPolicies(all())
  const waivers = openWaiverWatch({
    policies: () => followed.flatMap(({ reload }) => reload.policies()),
    onWaivers: observer.onWaivers,
  })
  const reloadAll = async () => {
    for (const { view, reload } of followed) {
      const outcome = await reload.reload()
      const whose = view === undefined ? 'the policy' : `the policy of view ${view}`
      const fields = { event: 'reload', outcome, ...(view !== undefined && { view }) }
      log.info(fields, `SIGHUP: ${whose} is ${outcome}`)
    }
  }
  const onSignal = () => void reloadAll()
  process.on('SIGHUP', onSignal)
  return {
    close: async () => {
      process.off('SIGHUP', onSignal)
      waivers.close()
      await Promise.all(followed.map(({ reload }) => reload.close()))
    },
  }
}
