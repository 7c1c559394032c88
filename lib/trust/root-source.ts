/** One trusted root, from wherever it comes: taken at the start, renewed, and what it is. */
import { basename } from 'node:path'
import { isAttestryError, messageOf, AttestryError } from '../errors.ts'
import type { RootScope } from '../types.ts'
import { fingerprintOf, parseJson, readJson } from './files.ts'
import { ownRoot } from './own-keys.ts'
import { parseRegistryKeys } from './registry-keys.ts'
import { filesOf, labelOf, rootTarget, scopeOf, type RootSource } from './source.ts'
import {
  contentDigest,
  metadataOf,
  validitiesOf,
  type RefreshFailure,
  type SourceStatus,
} from './status.ts'
import { checkTrustedRoot } from './trusted-root.ts'
import { openTufSource, type SourceTerms, type TufSource } from './tuf-source.ts'
import type { TufState } from './tuf-state.ts'

export type OpenRootSource = {
  readonly scope: RootScope
  /** The trusted_root.json in force. */
  readonly document: () => object
  /** A verified target of its TUF repository, parsed; undefined without one. */
  readonly target: (path: string) => unknown
  /** Is it a TUF repository, and that of public-good? */
  readonly repository: 'public-good' | 'other' | undefined
  /** Has it to be asked over the network? */
  readonly remote: boolean
  /**
   * Takes it anew. A failure leaves what is in force, and is kept for `status`. `network`: asks the
   * mirror; otherwise only files are read.
   */
  readonly renew: (network: boolean) => Promise<void>
  /** Has a file of it changed since it was read, and is it the same as when it was last asked? */
  readonly settled: () => Promise<boolean>
  readonly status: () => SourceStatus
}

const nameOf = (source: RootSource): string => {
  switch (source.kind) {
    case 'public-good':
      return 'public-good'
    case 'file':
      return basename(source.file)
    case 'tuf':
      return `TUF mirror ${new URL(source.mirror).host}`
    case 'archive':
      return `TUF archive ${basename(source.archive)}`
    case 'keys':
      return `keys ${filesOf(source)
        .map(file => basename(file))
        .join(', ')}`
  }
}

/** A certificate is only proven with the log of certificates it was put in. */
const wantedOf = ({ kind, ...source }: RootSource): readonly string[] | undefined => {
  if (kind !== 'keys' || !('keys' in source)) return undefined
  return source.keys.certificateAuthorities === undefined ? ['tlogs'] : ['tlogs', 'ctlogs']
}

const tufOf = (source: RootSource, keysTargets: readonly string[], terms: SourceTerms) => {
  if (source.kind === 'file' || source.kind === 'keys') return undefined
  const { root, target = rootTarget } =
    source.kind === 'public-good' ? { root: undefined } : source
  const place =
    source.kind === 'tuf'
      ? { mirror: source.mirror }
      : source.kind === 'archive'
        ? { archive: source.archive }
        : {}
  const opened = openTufSource({ place, root, target, keysTargets, terms })
  const repository = root === undefined ? ('public-good' as const) : ('other' as const)
  return { ...opened, target, repository }
}

const trustError = (error: unknown): AttestryError =>
  isAttestryError(error)
    ? error
    : new AttestryError('ETRUST', messageOf(error), { cause: error })

/** Throws ETRUST when there is nothing at all to trust in: a file that is wrong, a mirror never reached. */
export const openRootSource = async (
  source: RootSource,
  keysTargets: readonly string[],
  terms: SourceTerms,
): Promise<OpenRootSource> => {
  const label = labelOf(source)
  const files = filesOf(source)
  const tuf = tufOf(source, keysTargets, terms)
  let document: object | undefined
  let readAt = terms.now().toISOString()
  let failure: RefreshFailure | undefined
  /** Of the files as they were read, and as they were last looked at. */
  let taken = await fingerprintOf(files)
  let looked = taken

  const check = (found: unknown) => checkTrustedRoot(found, label, wantedOf(source))

  const fromState = ({ targets }: TufState, { target }: { readonly target: string }) => {
    const text = targets[target]
    if (text === undefined) throw new AttestryError('ETRUST', `${label}: it has no ${target}`)
    return check(parseJson(text, `${label}: ${target}`))
  }

  /** Keys that cannot be read must not be what the next start begins with. */
  const accept = (state: TufState, opened: { readonly target: string }) => {
    fromState(state, opened)
    for (const path of keysTargets) {
      const text = state.targets[path]
      const where = `${label}: ${path}`
      if (text !== undefined) parseRegistryKeys(parseJson(text, where), where)
    }
  }

  const fromFiles = async (): Promise<object> =>
    check(source.kind === 'keys' ? await ownRoot(source.keys) : await readJson(label))

  const fail = (error: unknown, refused: boolean): void => {
    const { message } = trustError(error)
    const since = failure?.since ?? terms.now().toISOString()
    failure = { message, since, refused }
  }

  const renewTuf = async (
    opened: TufSource & { readonly target: string },
    network: boolean,
  ) => {
    const asked = source.kind === 'archive' || network
    const failed = asked ? await opened.renew(state => accept(state, opened)) : undefined
    if (!asked) await opened.recall()
    if (failed) fail(failed.error, failed.reached)
    else if (asked) failure = undefined
    if (opened.origin() !== 'none') document = fromState(opened.state(), opened)
  }

  const renew = async (network: boolean): Promise<void> => {
    const before = await fingerprintOf(files)
    try {
      if (tuf) await renewTuf(tuf, network)
      else {
        document = await fromFiles()
        failure = undefined
      }
      readAt = terms.now().toISOString()
    } catch (error) {
      fail(error, true)
    }
    taken = before
    looked = before
  }

  /** What is kept or shipped does to begin with; where there is nothing it has to be asked for. */
  const begin = async () => {
    if (!tuf || source.kind === 'archive') return renew(false)
    await tuf.recall()
    if (tuf.origin() !== 'none') document = fromState(tuf.state(), tuf)
    else if (terms.network) await renew(true)
    else
      throw new AttestryError(
        'ETRUST',
        `${label}: nothing is kept of it, and the network is not to be used`,
      )
  }

  await begin()
  if (document === undefined)
    throw new AttestryError('ETRUST', withPlace(label, failure?.message ?? 'it has no root'))

  const inForce = () => document as object
  return {
    scope: scopeOf(source),
    document: inForce,
    target: path => {
      const text = tuf?.state().targets[path]
      return text === undefined ? undefined : parseJson(text, `${label}: ${path}`)
    },
    repository: tuf?.repository,
    remote: source.kind === 'public-good' || source.kind === 'tuf',
    renew,
    settled: async () => {
      if (files.length === 0) return false
      const now = await fingerprintOf(files)
      const still = now === looked
      looked = now
      return still && now !== taken
    },
    status: () => {
      const origin = tuf?.origin()
      const checkedAt = tuf ? tuf.state().checkedAt : readAt
      return {
        kind: source.kind,
        name: nameOf(source),
        label,
        scope: scopeOf(source),
        origin: origin === undefined ? 'file' : origin === 'shipped' ? 'shipped' : 'kept',
        digest: contentDigest(inForce()),
        ...(checkedAt !== undefined && { checkedAt }),
        ...(tuf && { metadata: metadataOf(tuf.state()) ?? {} }),
        keys: validitiesOf(inForce()),
        ...(failure && { failure }),
      }
    },
  }
}

const withPlace = (label: string, message: string) =>
  message.startsWith(label) ? message : `${label}: ${message}`
