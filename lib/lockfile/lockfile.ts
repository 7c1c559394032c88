/** What every lockfile is read into, whichever client wrote it. Types only. */

export type LockfileFormat = 'npm' | 'pnpm' | 'yarn-classic' | 'yarn-berry' | 'bun'

/**
 * Where a package comes from:
 * `registry`: name and version, asked of a registry. `git`: a commit of a repository, also as
 * a tarball of its host. `url`: a tarball that is asked for by its address. `file`: made from
 * a local file or folder. `link`: a link to a local folder. `workspace`: a part of the project.
 * `bundled`: inside the tarball of the package above it, never fetched by itself.
 */
export type LockedKind = 'registry' | 'git' | 'url' | 'file' | 'link' | 'workspace' | 'bundled'

/** Offsets into the text, in UTF-16 units; `end` is the first one after. */
export type Span = { readonly start: number; readonly end: number }

export type LockedPackage = {
  /** Its own name, not the alias. Of kind `registry` always a name that a registry can hold. */
  readonly name: string
  /** Of kind `registry` always an exact version; empty where the lockfile names none. */
  readonly version: string
  readonly kind: LockedKind
  /**
   * SRI of the tarball: the one sha512 where there is exactly one, in canonical form, else as it
   * is written. A sha1 that the lockfile has in hex only becomes SRI.
   */
  readonly integrity?: string
  /** Berry's checksum of the archive it makes from the tarball; it says nothing about the tarball. */
  readonly checksum?: string
  /** The address as it is written (decoded where the format encodes it), with its fragment. */
  readonly resolved?: string
  /** Where `resolved` stands in the text, once or twice, where it stands there as it is. */
  readonly resolvedAt: readonly Span[]
  /** Wanted by development only. False where the format does not tell (both yarns). */
  readonly dev: boolean
  /** The project can do without it. False where the format does not tell (both yarns). */
  readonly optional: boolean
  /** Line of the entry's key, from 1. */
  readonly line: number
  /** The entry's key; of package-lock version 1 the path that versions 2 and 3 use as key. */
  readonly key: string
  /** A name it is installed under that is not its own. */
  readonly alias?: string
}

export type Lockfile = {
  readonly file: string
  readonly format: LockfileFormat
  /** As in the file: `3`, `9.0`, `1`, `8`. */
  readonly formatVersion: string
  /** One for each entry, in the order of the file: a package may be there several times. */
  readonly packages: readonly LockedPackage[]
}
