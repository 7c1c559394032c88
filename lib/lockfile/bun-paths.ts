/** bun.lock's keys are paths of names, `b/@scope/host`; names are looked up from them upwards. */

export type Folder = {
  /** The key that is this path. */
  key: string | undefined
  readonly above: Folder | undefined
  readonly below: Map<string, Folder>
}

/** `a/@scope/b` is b's folder below a's. */
export const namesIn = (key: string): readonly string[] => {
  const names: string[] = []
  let scope = ''
  for (const part of key.split('/')) {
    if (scope === '' && part.startsWith('@')) scope = `${part}/`
    else {
      names.push(scope + part)
      scope = ''
    }
  }
  return scope === '' ? names : [...names, scope]
}

/** The folder at a path, made where it is not there yet. */
export const folderAt = (top: Folder, names: readonly string[]): Folder => {
  let folder = top
  for (const name of names) {
    const next = folder.below.get(name) ?? { key: undefined, above: folder, below: new Map() }
    folder.below.set(name, next)
    folder = next
  }
  return folder
}

/** As bun resolves a name: below the folder itself, then below each one above it. */
export const lookup = (from: Folder, name: string): string | undefined => {
  for (let folder: Folder | undefined = from; folder !== undefined; folder = folder.above) {
    const key = folder.below.get(name)?.key
    if (key !== undefined) return key
  }
  return undefined
}
