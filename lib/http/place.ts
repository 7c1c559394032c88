/**
 * Where in our address space a request's target lies: below the path of the public URL or not (a
 * reverse proxy may strip it or pass it on), and in which view (`/v/NAME/…`).
 */
export type Place = {
  readonly view?: string
  /** Path and query as a registry at the root would see them, still encoded. */
  readonly target: string
}

/**
 * What stands below the prefix `/a/b/`. A package may be called like the prefix: its packument is
 * asked for without the slash at the end, and its tarballs begin with its name.
 */
const below = (target: string, prefix: string): string | undefined => {
  if (prefix === '/' || !target.startsWith(prefix)) return undefined
  const name = prefix.slice(1, -1)
  const rest = target.slice(prefix.length)
  const file = name.slice(name.lastIndexOf('/') + 1)
  if (rest.startsWith(`-/${file}-`) && /^[^/?]+\.tgz(\?|$)/.test(rest.slice(2)))
    return undefined
  return `/${rest}`
}

export const viewPath = (view: string): string => `v/${view}/`

/** `prefix` is the path of the public URL: begins and ends with a slash. */
export const placeOf = (
  target: string,
  { prefix, views }: { readonly prefix: string; readonly views: ReadonlySet<string> },
): Place => {
  // some proxies, when told to strip a prefix without its slash, leave two
  const plain = target.startsWith('//') ? target.replace(/^\/+/, '/') : target
  const inside = below(plain, prefix) ?? plain
  const [, view, rest = '/'] = /^\/v\/([a-z][a-z0-9-]*)(\/.*)?$/s.exec(inside) ?? []
  return view !== undefined && views.has(view) ? { view, target: rest } : { target: inside }
}
