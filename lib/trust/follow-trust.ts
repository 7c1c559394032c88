/** Keeps trust fresh while a server runs: repositories at intervals with jitter, files when they change. */
import type { TrustRoom } from './open-trust.ts'

export type FollowTrustOptions = {
  readonly trust: Pick<TrustRoom, 'renew' | 'look' | 'status' | 'close'>
  /** Milliseconds between two refreshes; 0 never asks a mirror. */
  readonly interval: number
  readonly onError: (error: unknown) => void
  /** Once an hour: what ends, ends also where nothing is renewed. */
  readonly onTold?: () => void
  /** Milliseconds between two looks at files. */
  readonly look?: number
  /** 0 to 1; for tests. */
  readonly random?: () => number
  readonly now?: () => Date
}

export type TrustFollower = { readonly close: () => Promise<void> }

/** Not at the same moment as everybody who was started by the same deployment. */
const SOON = 15_000
/** After a failure it is tried again earlier, then less and less often. */
const RETRY = 10 * 60_000
const HOUR = 3_600_000

/** Milliseconds until the next refresh. */
export const nextRefresh = (
  { interval, since, failures }: { interval: number; since: number; failures: number },
  random: number,
): number => {
  const wanted = failures > 0 ? Math.min(interval, RETRY * 2 ** (failures - 1)) : interval
  // up to a tenth earlier or later
  const jittered = wanted * (0.9 + random * 0.2)
  return Math.max(SOON * (0.2 + random * 0.8), jittered - since)
}

export const followTrust = (options: FollowTrustOptions): TrustFollower => {
  const { trust, interval, onError, look = 10_000, random = Math.random } = options
  const now = options.now ?? (() => new Date())
  let closed = false
  let failures = 0
  let refresh: NodeJS.Timeout | undefined
  let work: Promise<void> = Promise.resolve()

  const remote = () => trust.status().sources.filter(({ metadata }) => metadata !== undefined)

  /** Milliseconds since the repository that was asked longest ago was asked. */
  const since = () =>
    Math.max(
      0,
      ...remote().map(({ checkedAt }) =>
        checkedAt === undefined ? interval : now().getTime() - Date.parse(checkedAt),
      ),
    )

  const renew = async (): Promise<void> => {
    try {
      const { sources } = await trust.renew({ network: interval > 0 })
      const failed = sources.some(({ failure }) => failure !== undefined)
      failures = failed ? failures + 1 : 0
    } catch (error) {
      failures++
      onError(error)
    }
  }

  const schedule = (): void => {
    if (closed || interval === 0 || remote().length === 0) return
    clearTimeout(refresh)
    const ago = failures > 0 ? 0 : since()
    const wait = nextRefresh({ interval, since: ago, failures }, random())
    refresh = setTimeout(() => {
      work = renew().finally(schedule)
    }, wait)
    refresh.unref()
  }
  schedule()

  let looking: Promise<void> = Promise.resolve()
  const looks = setInterval(() => {
    looking = looking.then(() => trust.look()).catch(onError)
  }, look)
  looks.unref()
  const told = setInterval(() => options.onTold?.(), HOUR)
  told.unref()

  return {
    close: async () => {
      closed = true
      trust.close()
      clearTimeout(refresh)
      clearInterval(looks)
      clearInterval(told)
      await Promise.all([work, looking])
    },
  }
}
