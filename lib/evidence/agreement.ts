/**
 * The predicate is written by the job that asks for the signature, so it can be forged; the
 * certificate is written by Fulcio from the CI's own token. What the predicate states must agree
 * with what is certified, and proves nothing by itself (slsa-verifier, provenance_forgeable.go).
 */
import type { Identity } from '../types.ts'
import { quote, refuse } from './finding.ts'
import { sameRepository } from './identity.ts'
import { isRecord } from './statement.ts'

export const contradiction = (field: string, stated: unknown, certified?: string): never =>
  refuse(
    'INVALID_ATTESTATION',
    certified === undefined
      ? `The provenance states a ${field} that its certificate does not back.`
      : `The provenance states another ${field} than its certificate.`,
    { npmCode: 'EATTESTATIONVERIFY', wanted: certified, found: quote(stated) },
  )

type Same = (stated: string, certified: string) => boolean

const exactly: Same = (a, b) => a === b

/**
 * A field that is left out, null or empty states nothing. One that is stated must be certified
 * and the same; with `optional` it may go uncertified (ids, which certificates have since 2023).
 */
export const agree = (
  field: string,
  stated: unknown,
  certified: string | undefined,
  { same = exactly, optional = false }: { same?: Same; optional?: boolean } = {},
): void => {
  if (stated === undefined || stated === null || stated === '') return
  if (certified === undefined) {
    if (!optional) contradiction(field, stated)
    return
  }
  const text = typeof stated === 'number' ? String(stated) : stated
  if (typeof text !== 'string' || !same(text, certified))
    contradiction(field, stated, certified)
}

/** npm 9.5 to 10 and GitHub's own toolkit cut refs at their first `@` (`refs/tags/` of a scoped tag). */
export const sameRef: Same = (stated, certified) =>
  stated === certified || stated === certified.split('@', 1)[0]

export const agreeRepository = (stated: unknown, { repository }: Identity): void =>
  agree('source repository', stated, repository, { same: sameRepository })

/** Splits `git+https://host/owner/repo@ref`; the ref may be left out. */
const gitUri = (uri: string): { repository: string; ref: string | undefined } | undefined => {
  const found = /^git\+(?<repository>https?:\/\/[^@]+)(?:@(?<ref>.+))?$/.exec(uri)?.groups
  return found?.repository === undefined
    ? undefined
    : { repository: found.repository.replace(/\.git$/, ''), ref: found.ref }
}

/** One `{uri, digest}`; `algorithm` is what the digest calls a commit. */
export const agreeSource = (source: unknown, algorithm: string, identity: Identity): void => {
  const { uri, digest } = isRecord(source) ? source : {}
  if (uri !== undefined) {
    const git = typeof uri === 'string' ? gitUri(uri) : undefined
    if (git === undefined) return contradiction('source', uri, identity.repository)
    agreeRepository(git.repository, identity)
    agree('ref', git.ref, identity.ref)
  }
  agree('commit', isRecord(digest) ? digest[algorithm] : undefined, identity.commit)
}

/**
 * A list of what went into the build. Builders add tools and images; what counts is git: if there
 * is any, the certified repository must be among it, and every mention of it must be right.
 */
export const agreeSources = (list: unknown, algorithm: string, identity: Identity): void => {
  if (list === undefined) return
  if (!Array.isArray(list)) return contradiction('list of sources', list)
  const { repository } = identity
  const stated = list.flatMap((source: unknown) => {
    const uri = isRecord(source) ? source.uri : undefined
    const git = typeof uri === 'string' ? gitUri(uri) : undefined
    return git === undefined ? [] : [{ source, git }]
  })
  if (stated.length === 0) return
  const ours = stated.filter(
    ({ git }) => repository !== undefined && sameRepository(git.repository, repository),
  )
  if (ours.length === 0)
    contradiction('source repository', stated[0]?.git.repository, repository)
  for (const { source } of ours) agreeSource(source, algorithm, identity)
}

const runner = 'https://github.com/actions/runner/'

/**
 * Builder ids come in these forms: GitHub's runner with its environment, a workflow (the reusable
 * one that signs, or another of the same repository and ref, as slsa-github-generator writes it),
 * GitLab's runner inside the project. Others (`npm/cli@9`) say nothing a certificate could confirm.
 */
export const agreeBuilder = (id: unknown, identity: Identity): string => {
  if (typeof id !== 'string' || id === '') return contradiction('builder', id)
  const { repository, signer, subject } = identity
  if (id.startsWith(runner))
    agree('runner environment', id.slice(runner.length), identity.runner, { optional: true })
  else if (id.includes('/.github/workflows/')) {
    const certified = signer ?? subject
    if (id !== certified && !siblings(id, certified)) contradiction('builder', id, certified)
  } else if (/\/-\/runners\/\d+$/.test(id)) {
    const project = id.replace(/\/-\/runners\/\d+$/, '')
    agree('builder', project, repository, { same: sameRepository })
  }
  return id
}

/** Two workflows of one repository at one ref. */
const siblings = (a: string, b: string): boolean => {
  const parts = (uri: string) => /^(.+)\/\.github\/workflows\/[^/@]+@(.+)$/.exec(uri)?.slice(1)
  const [home, ref] = parts(a) ?? []
  const [otherHome, otherRef] = parts(b) ?? []
  return home !== undefined && home === otherHome && ref === otherRef
}
