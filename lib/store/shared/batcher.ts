/**
 * What is asked for while one call is under way goes out together with the next: one round trip,
 * and one lock taken, for all of it.
 */
export type Batcher<In, Out> = {
  readonly add: (item: In) => Promise<Out>
  /** Resolves when nothing is under way any more. */
  readonly drained: () => Promise<void>
}

export const openBatcher = <In, Out>(
  max: number,
  /** One result for each item, in their order. */
  send: (items: readonly In[]) => Promise<readonly Out[]>,
): Batcher<In, Out> => {
  type Waiting = {
    readonly item: In
    readonly resolve: (out: Out) => void
    readonly reject: (error: unknown) => void
  }
  let waiting: Waiting[] = []
  let sending: Promise<void> | undefined

  const sendAll = async (): Promise<void> => {
    // what is asked for in this turn of the event loop belongs together
    await Promise.resolve()
    while (waiting.length > 0) {
      const batch = waiting.splice(0, max)
      try {
        const results = await send(batch.map(({ item }) => item))
        for (const [index, { resolve }] of batch.entries()) resolve(results[index] as Out)
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    sending = undefined
  }

  return {
    add: item =>
      new Promise<Out>((resolve, reject) => {
        waiting.push({ item, resolve, reject })
        sending ??= sendAll()
      }),
    drained: async () => {
      while (sending !== undefined) await sending
    },
  }
}
