/** `dev` and `optional` for formats that give only who asks for whom. */

export type Asks<Id> = {
  readonly dependencies: readonly Id[]
  readonly optional: readonly Id[]
  readonly dev: readonly Id[]
}

export type Flags = { readonly dev: boolean; readonly optional: boolean }

/**
 * As npm's lockfile flags them: `dev` when every way from the project leads over a development
 * dependency, `optional` when every way leads over an optional one. What nobody asks for is
 * neither. `roots` are the project and its workspaces; the `dev` of others is not looked at.
 */
export const openReach = <Id>(
  roots: readonly Asks<Id>[],
  asksOf: (id: Id) => Asks<Id> | undefined,
): ((id: Id) => Flags) => {
  const from = (start: readonly Id[], withOptional: boolean): ReadonlySet<Id> => {
    const reached = new Set(start)
    // a Set's iteration meets what is added meanwhile
    for (const id of reached) {
      const asks = asksOf(id)
      for (const next of asks?.dependencies ?? []) reached.add(next)
      if (withOptional) for (const next of asks?.optional ?? []) reached.add(next)
    }
    return reached
  }
  const all = (pick: (asks: Asks<Id>) => readonly Id[]) =>
    roots.flatMap(asks => [...pick(asks)])
  const installed = from(
    all(a => [...a.dependencies, ...a.optional, ...a.dev]),
    true,
  )
  const production = from(
    all(a => [...a.dependencies, ...a.optional]),
    true,
  )
  const needed = from(
    all(a => [...a.dependencies, ...a.dev]),
    false,
  )
  return id => ({
    dev: installed.has(id) && !production.has(id),
    optional: installed.has(id) && !needed.has(id),
  })
}
