/**
 * What the kernel says of processes: time on processors, memory, and how much of the machine went
 * to others meanwhile. Linux only; elsewhere these columns stay empty.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'

const ticks = 100
export const hasProc = existsSync('/proc/self/stat')

const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // it ended in between
    return ''
  }
}

/** Fields after the command's name, which may hold anything. */
const statOf = (pid: number): readonly string[] => {
  const text = read(`/proc/${pid}/stat`)
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}

/** A process and all below it. */
export const treeOf = (root: number): readonly number[] => {
  const children = new Map<number, number[]>()
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const parent = Number(statOf(Number(entry))[1])
    children.set(parent, [...(children.get(parent) ?? []), Number(entry)])
  }
  const below = (pid: number): number[] => [pid, ...(children.get(pid) ?? []).flatMap(below)]
  return below(root)
}

/** Seconds of processor time of a process and all below it, and with `ended` of those that ended. */
export const cpuOf = (root: number, ended = false): number => {
  const fields = ended ? [11, 12, 13, 14] : [11, 12]
  const all = treeOf(root).flatMap(pid => {
    const stat = statOf(pid)
    return fields.map(field => Number(stat[field] ?? 0))
  })
  return all.reduce((sum, value) => sum + value, 0) / ticks
}

export type MemoryUse = {
  /** Resident now, of all together. */
  readonly rss: number
  /** The sum of their peaks. */
  readonly peak: number
  /** The highest of their peaks. */
  readonly largest: number
  /** Resident now, of the one that has most. */
  readonly largestNow: number
}

/** MB of a process and all below it. */
export const memoryOf = (root: number): MemoryUse => {
  // one reading for each process: the kernel raises a peak to what is resident when it is asked
  const texts = treeOf(root).map(pid => read(`/proc/${pid}/status`))
  const each = (field: string) =>
    texts.map(text => {
      const kib = new RegExp(`${field}:\\s+(\\d+)`).exec(text)?.[1]
      return (Number(kib ?? 0) * 1024) / 1e6
    })
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
  const peaks = each('VmHWM')
  const now = each('VmRSS')
  return {
    rss: sum(now),
    peak: sum(peaks),
    largest: Math.max(0, ...peaks),
    largestNow: Math.max(0, ...now),
  }
}

const machineNow = () => {
  const all = (read('/proc/stat').split('\n')[0] ?? '').trim().split(/\s+/).slice(1).map(Number)
  const [user = 0, nice = 0, system = 0, , , , , steal = 0] = all
  const total = all.slice(0, 8).reduce((sum, value) => sum + value, 0)
  return { busy: user + nice + system + steal, total, own: cpuOf(process.pid, true) * ticks }
}

/** Starts watching; the call gives the share (0 to 1) of all processors that went to others since. */
export const watchOthers = (): (() => number) => {
  if (!hasProc) return () => 0
  const before = machineNow()
  return () => {
    const after = machineNow()
    const others = after.busy - before.busy - (after.own - before.own)
    return Math.max(0, others / Math.max(1, after.total - before.total))
  }
}

/** Waits until others leave the machine alone, at most `seconds`. */
export const quiet = async (seconds: number): Promise<void> => {
  const end = Date.now() + seconds * 1000
  while (Date.now() < end) {
    const others = watchOthers()
    await new Promise(done => setTimeout(done, 500))
    if (others() < 0.08) return
  }
}
