/** Metrics of a cluster: whichever worker is asked answers for all of them together. */
import { AggregatorRegistry, type Registry } from '../../observe/prom-client.ts'
import type { MetricsJson } from './messages.ts'

export type ScrapesOptions = {
  /** Of this process, which counts nothing of requests. */
  readonly registry: Registry
  /** Asks every worker to answer under this number; returns how many were asked. */
  readonly ask: (id: number) => number
  /** Milliseconds to wait for the slowest; it is left out then. */
  readonly patience?: number
}

export type Scrapes = {
  readonly scrape: () => Promise<{ readonly type: string; readonly text: string }>
  /** A worker's answer. */
  readonly collected: (id: number, metrics: MetricsJson) => void
}

type Open = { readonly got: MetricsJson[]; left: number; readonly done: () => void }

export const openScrapes = ({ registry, ask, patience = 2_000 }: ScrapesOptions): Scrapes => {
  const open = new Map<number, Open>()
  let last = 0
  return {
    scrape: async () => {
      const id = ++last
      const got: MetricsJson[] = []
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, patience)
        const done = () => {
          clearTimeout(timer)
          resolve()
        }
        const one: Open = { got, left: 0, done }
        open.set(id, one)
        one.left = ask(id)
        if (one.left === 0) done()
      })
      open.delete(id)
      const own = await registry.getMetricsAsJSON()
      const all = AggregatorRegistry.aggregate([own, ...got])
      return { type: registry.contentType, text: await all.metrics() }
    },
    collected: (id, metrics) => {
      const one = open.get(id)
      if (!one) return
      one.got.push(metrics)
      one.left--
      if (one.left === 0) one.done()
    },
  }
}
