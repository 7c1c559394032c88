/** Puts verdicts on record: a new one by itself and before it takes effect, a remembered one as a repeat. */
import type { AuditLog } from '../store/store.ts'
import type { PackageId, RecordedVerdict } from '../types.ts'
import type { Admission } from './admissions.ts'
import type { Client, GateObserver } from './gate.ts'
import type { Repeats } from './repeats.ts'

export type RecorderOptions = {
  readonly audit: Pick<AuditLog, 'append'>
  readonly repeats: Repeats
  /** Whose verdicts they are, where they are a view's. */
  readonly view: string | undefined
  readonly now: () => Date
  readonly observer: GateObserver
}

/** Resolves when the verdict may take effect. */
export type Recorder = (id: PackageId, admission: Admission, client: Client) => Promise<void>

const recordedOf = (
  id: PackageId,
  { verdict, remembered, blob }: Admission,
): RecordedVerdict => {
  const layer = verdict.layers.find(({ reasons }) => reasons.length > 0) ?? verdict.layers[0]
  const integrity = blob?.integrity ?? verdict.integrity
  return {
    package: id,
    ...(integrity && { integrity }),
    decision: verdict.decision,
    rule: layer ? `${layer.policy}#${layer.rule}` : 'none',
    reasons: verdict.reasons,
    policyDigest: verdict.policyDigest,
    fresh: !remembered,
  }
}

const done = Promise.resolve()

export const openRecorder = (options: RecorderOptions): Recorder => {
  const { audit, repeats, view, now, observer } = options
  const known = new WeakMap<Admission, RecordedVerdict>()
  const inView = new WeakMap<Client, Client>()

  const clientOf = (client: Client): Client => {
    if (view === undefined) return client
    const found = inView.get(client) ?? { ...client, view }
    inView.set(client, found)
    return found
  }

  return (id, admission, asked) => {
    const client = clientOf(asked)
    const verdict = known.get(admission) ?? recordedOf(id, admission)
    observer.onVerdict?.(verdict, client)
    if (!admission.remembered)
      return audit.append({ at: now().toISOString(), client, ...verdict })
    known.set(admission, verdict)
    repeats.add(verdict, client)
    // it was on record before it first took effect: a repeated one need not hold up the bytes
    return done
  }
}
