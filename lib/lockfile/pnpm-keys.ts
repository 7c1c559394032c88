/** How pnpm's lockfiles name packages: `name@version(peer@version)(patch_hash=…)`. */

/** The key without what stands in brackets at its end; those may nest. */
export const withoutPeers = (key: string): string => {
  let depth = 0
  for (let at = key.length - 1; at >= 0 && (depth > 0 || key[at] === ')'); at--) {
    if (key[at] === ')') depth++
    else if (key[at] === '(' && --depth === 0 && key[at - 1] !== ')') return key.slice(0, at)
  }
  return key
}

/**
 * The key that a dependency's `version` refers to (dependency-path's refToRelative): itself when
 * it is a key already, else the name with it. `undefined` for links to folders.
 */
export const referredKey = (
  name: string,
  reference: string,
  isSix: boolean,
): string | undefined => {
  if (reference.startsWith('link:')) return undefined
  if (isSix) {
    // keys of registry packages start with a slash there, addresses are keys as they are
    const bare = withoutPeers(reference)
    return reference.startsWith('/') || /[/:]/.test(bare) ? reference : `/${name}@${reference}`
  }
  const at = reference.indexOf('@')
  const other = reference.search(/[:(]/)
  const isKey = at === 0 || (at !== -1 && (other === -1 || at < other))
  return isKey ? reference : `${name}@${reference}`
}
