/** Sums of a V8 CPU profile: by function, and by the part of the program it belongs to. */

type Node = {
  readonly id: number
  readonly callFrame: {
    readonly functionName: string
    readonly url: string
    readonly lineNumber: number
  }
  readonly children?: readonly number[]
}

export type CpuProfile = {
  readonly nodes: readonly Node[]
  readonly samples: readonly number[]
  /** Microseconds. */
  readonly timeDeltas: readonly number[]
}

export type Cost = {
  readonly name: string
  /** Shares (0 to 1) of the time in which anything ran: here, and here or below. */
  readonly self: number
  readonly total: number
}

/** `lib/http/app.ts`, `node:internal/…`, or the package's name. */
const placeOf = (url: string): string => {
  const inside = /\/node_modules\/((?:@[^/]+\/)?[^/]+)(?!.*\/node_modules\/)/.exec(url)?.[1]
  if (inside !== undefined) return inside
  return /\/((?:lib|bin|test)\/.+)$/.exec(url)?.[1] ?? url
}

const named = ({ callFrame: { functionName, url, lineNumber } }: Node): string => {
  const name = functionName === '' ? '(anonymous)' : functionName
  return url === '' ? name : `${name} ${placeOf(url)}:${lineNumber + 1}`
}

const partOf = ({ callFrame: { functionName, url } }: Node): string => {
  if (url === '') return functionName === '' ? '(native)' : functionName
  const place = placeOf(url)
  if (place.startsWith('node:'))
    return (
      /^node:(?:internal\/)?(?:_?http|net|stream|tls|zlib|fs|crypto|timers|webstreams|process)/.exec(
        place,
      )?.[0] ?? 'node, other'
    )
  return /^lib\/[^/]+/.exec(place)?.[0] ?? place
}

// the profiler itself is no work of the server's
const idle = ({ callFrame: { functionName, url } }: Node) =>
  ['(idle)', '(program)'].includes(functionName) || url === 'node:inspector'

/** Costs in order, the largest first. */
export const costsOf = (
  { nodes, samples, timeDeltas }: CpuProfile,
  by: 'function' | 'part',
): readonly Cost[] => {
  const byId = new Map(nodes.map(node => [node.id, node]))
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map(c => [c, id])))
  const label = by === 'function' ? named : partOf
  const sums = new Map<string, { self: number; total: number }>()
  let busy = 0
  for (const [i, sample] of samples.entries()) {
    const top = byId.get(sample)
    const time = timeDeltas[i] ?? 0
    if (top === undefined || idle(top)) continue
    busy += time
    const seen = new Set<string>()
    for (let id: number | undefined = sample; id !== undefined; id = parents.get(id)) {
      const node = byId.get(id)
      if (node === undefined || node.callFrame.functionName === '(root)') break
      const name = label(node)
      const sum = sums.get(name) ?? { self: 0, total: 0 }
      if (id === sample) sum.self += time
      if (!seen.has(name)) sum.total += time
      seen.add(name)
      sums.set(name, sum)
    }
  }
  return [...sums]
    .map(([name, { self, total }]) => ({ name, self: self / busy, total: total / busy }))
    .toSorted((a, b) => b.self - a.self)
}
