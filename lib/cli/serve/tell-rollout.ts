/** What is told of policies that come from the store: log, metrics, and waivers at their end. */
import type { Attestry } from '../../attestry.ts'
import type { PoliciesSeen, observe } from '../../observe/events.ts'
import { inForce } from '../../policy/baseline.ts'
import type { RolloutEvent } from '../../rollout/follow.ts'
import type { Layers, Revision } from '../../rollout/revision.ts'
import { openWaiverWatch, type WaiverWatch } from '../waiver-watch.ts'

export type RolloutTeller = {
  readonly onRollout: (event: RolloutEvent) => void
  /** Tells what is in force at the start. */
  readonly serving: (
    attestry: Pick<Attestry, 'gate' | 'url' | 'policies' | 'views' | 'rollout'>,
  ) => void
  readonly close: () => void
}

/** `waivers`: whether this process is the one that tells of them. */
export const openRolloutTeller = (
  observer: Pick<
    ReturnType<typeof observe>,
    'onPolicies' | 'onPolicyRefused' | 'onPolicyRestored' | 'onWaivers'
  >,
  { waivers }: { readonly waivers: boolean },
): RolloutTeller => {
  let layers: Layers | undefined
  let revision: Revision | undefined
  let seen: (() => readonly PoliciesSeen[]) | undefined
  let watch: WaiverWatch | undefined

  return {
    onRollout: event => {
      if (event.event === 'refused') return observer.onPolicyRefused(event.error)
      revision = event.revision
      if (event.event === 'restored') observer.onPolicyRestored()
      else layers = event.layers
      // before that nobody is served, and what is in force then is told
      const all = seen?.() ?? []
      observer.onPolicies(all, event.event === 'adopted' ? all[0] : undefined)
      watch?.tell()
    },
    serving: ({ gate, url, policies, views, rollout }) => {
      if (!rollout) return
      layers ??= { policies, views }
      revision ??= rollout.revision
      seen = () => [
        {
          digest: gate.policyDigest,
          names: inForce(layers?.policies ?? []).map(({ name }) => name),
          ...(revision && {
            revision: {
              number: revision.revision,
              by: revision.by,
              ...(revision.message !== undefined && { message: revision.message }),
            },
          }),
        },
        ...Array.from(layers?.views ?? [], ([view, added]) => ({
          view,
          digest: gate.view(view, url).policyDigest,
          names: added.map(({ name }) => name),
        })),
      ]
      observer.onPolicies(seen())
      if (!waivers) return
      watch = openWaiverWatch({
        policies: () => [
          ...(layers?.policies ?? []),
          ...[...(layers?.views.values() ?? [])].flat(),
        ],
        onWaivers: observer.onWaivers,
      })
    },
    close: () => watch?.close(),
  }
}
