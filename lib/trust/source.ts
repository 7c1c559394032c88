/** Where trusted roots come from: what settings may name, as Policy Controller's TrustRoot does. */
import type { RootScope } from '../types.ts'

/** ISO 8601; `until` is exclusive. Without them a certificate's own time counts; a key needs `from`. */
export type Validity = {
  readonly from?: string | undefined
  readonly until?: string | undefined
}

/** A certificate authority: PEM, the issuing certificate first, the root last. */
export type OwnAuthority = Validity & { readonly certificates: string }

/** A log: its public key as PEM. */
export type OwnLog = Validity & {
  readonly key: string
  /** Where the log is; the host is the name in its checkpoints (C2SP signed-note). */
  readonly url?: string | undefined
}

/** Bring your own: files of keys and certificates in place of a trusted_root.json. */
export type OwnKeys = {
  readonly certificateAuthorities?: readonly OwnAuthority[] | undefined
  readonly tlogs: readonly OwnLog[]
  readonly ctlogs?: readonly OwnLog[] | undefined
  readonly timestampAuthorities?: readonly OwnAuthority[] | undefined
}

export type RootPlace =
  /** Sigstore's own root, from its TUF repository; the copy in @sigstore/tuf until that was asked. */
  | { readonly kind: 'public-good' }
  /** A trusted_root.json. */
  | { readonly kind: 'file'; readonly file: string }
  /** A TUF repository; `root` is a file of its root metadata, default that of public-good. */
  | {
      readonly kind: 'tuf'
      readonly mirror: string
      readonly root?: string
      readonly target?: string
    }
  /** A TUF repository as tar.gz, for sites without the network. */
  | {
      readonly kind: 'archive'
      readonly archive: string
      readonly root?: string
      readonly target?: string
    }
  | { readonly kind: 'keys'; readonly keys: OwnKeys }

export type RootSource = RootPlace & RootScope

/**
 * Whose signatures count. `tuf`: the target `<host and path>/keys.json` of the trust roots' TUF
 * repositories, and nothing else. `auto`: the same, else as shipped in @sigstore/tuf.
 */
export type KeysSource =
  | { readonly kind: 'auto' | 'tuf' | 'bundled' | 'none' }
  | { readonly kind: 'file'; readonly file: string }

export const rootTarget = 'trusted_root.json'

/** For people: names the source in errors, in the log and in what health tells. */
export const labelOf = (place: RootPlace): string => {
  switch (place.kind) {
    case 'public-good':
      return 'public-good'
    case 'file':
      return place.file
    case 'tuf':
      return `TUF mirror ${place.mirror}`
    case 'archive':
      return `TUF archive ${place.archive}`
    case 'keys': {
      const files = filesOf(place)
      return `keys ${files.join(', ')}`
    }
  }
}

/** The files a source is read from. */
export const filesOf = (place: RootPlace): readonly string[] => {
  switch (place.kind) {
    case 'public-good':
      return []
    case 'file':
      return [place.file]
    case 'tuf':
      return place.root === undefined ? [] : [place.root]
    case 'archive':
      return [place.archive, ...(place.root === undefined ? [] : [place.root])]
    case 'keys': {
      const { certificateAuthorities, tlogs, ctlogs, timestampAuthorities } = place.keys
      return [
        ...[certificateAuthorities, timestampAuthorities].flatMap(list =>
          (list ?? []).map(({ certificates }) => certificates),
        ),
        ...[tlogs, ctlogs].flatMap(list => (list ?? []).map(({ key }) => key)),
      ]
    }
  }
}

export const scopeOf = ({ issuers, subjects }: RootScope): RootScope => ({
  ...(issuers && { issuers }),
  ...(subjects && { subjects }),
})
