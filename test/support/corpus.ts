/**
 * Real attestations, signatures and tarballs, kept beside the repository and never inside it. Tests
 * on them are skipped, with the reason printed, where they are not there.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import type { ExamineRequest } from '../../lib/evidence/examiner.ts'
import type { Integrity, VersionClaims } from '../../lib/types.ts'

export type CorpusFacts = {
  readonly name: string
  readonly version: string
  readonly published: string
  readonly integrity: Integrity
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[] | null
  readonly class: 'valid' | 'invalid' | 'derived' | 'signature-only'
  readonly expected: {
    readonly verdict: string
    readonly layer?: string
    readonly reason: string
  }
  readonly attestations?: readonly {
    readonly wrapperPredicateType: string
    readonly identity: Readonly<Record<string, string>> & { readonly type: string }
    readonly provenance?: Readonly<Record<string, string>>
    readonly tlog: readonly { readonly integratedTime: string }[]
  }[]
}

export type CorpusPackage = {
  /** Folder name: `NAME@VERSION`, or `CASE--NAME@VERSION`. */
  readonly title: string
  readonly facts: CorpusFacts
  readonly attestations: Buffer | undefined
  readonly tarball: Buffer | undefined
}

export type CorpusSignature = {
  readonly name: string
  readonly version: string
  readonly integrity: Integrity
  readonly keyid: string
  readonly sig: string
  readonly published?: string
}

const folder =
  process.env.ATTESTRY_CORPUS ??
  fileURLToPath(new URL('../../../shared/corpus', import.meta.url))

/** The reason to skip, or false; the form tap's `skip` option takes. */
export const noCorpus: string | false = existsSync(join(folder, 'keys.json'))
  ? false
  : 'the corpus is not here: set ATTESTRY_CORPUS to its folder'

export const corpusFile = (...path: string[]): string => join(folder, ...path)

const json = <T>(...path: string[]): T =>
  JSON.parse(readFileSync(corpusFile(...path), 'utf8')) as T

const optional = (...path: string[]): Buffer | undefined =>
  existsSync(corpusFile(...path)) ? readFileSync(corpusFile(...path)) : undefined

const packagesIn = (...path: string[]): CorpusPackage[] =>
  readdirSync(corpusFile(...path))
    .filter(title => existsSync(corpusFile(...path, title, 'facts.json')))
    .map(title => ({
      title,
      facts: json<CorpusFacts>(...path, title, 'facts.json'),
      attestations: optional(...path, title, 'attestations.json'),
      tarball: optional(...path, title, 'tarball.tgz'),
    }))

export const corpusPackages = (): CorpusPackage[] => packagesIn()
export const corpusInvalid = (): CorpusPackage[] => packagesIn('invalid')

/** Every registry signature there is: the bulk file and the packuments. */
export const corpusSignatures = (): CorpusSignature[] => {
  const bulk = gunzipSync(readFileSync(corpusFile('signatures.jsonl.gz')))
    .toString()
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as CorpusSignature)
  const packuments = readdirSync(corpusFile('packuments')).flatMap(file => {
    type Dist = { integrity: Integrity; signatures?: { keyid: string; sig: string }[] }
    const { name, time, versions } = json<{
      name: string
      time: Record<string, string>
      versions: Record<string, { dist: Dist }>
    }>('packuments', file)
    return Object.entries(versions).flatMap(([version, { dist }]) =>
      (dist.signatures ?? []).map(signature => ({
        name,
        version,
        integrity: dist.integrity,
        ...signature,
        ...(time[version] === undefined ? {} : { published: time[version] }),
      })),
    )
  })
  return [...bulk, ...packuments]
}

export const corpusInvalidSignatures = (): (CorpusSignature & { readonly reason: string })[] =>
  json('signatures-invalid.json')

export const claimsOf = (facts: {
  readonly version: string
  readonly integrity: Integrity
  readonly published?: string
  readonly signatures?: VersionClaims['signatures'] | null
}): VersionClaims => ({
  version: facts.version,
  integrity: facts.integrity,
  tarball: `http://127.0.0.1/${facts.version}.tgz`,
  signatures: facts.signatures ?? [],
  ...(facts.published === undefined ? {} : { publishedAt: facts.published }),
})

/** What the gate would ask about a package of the corpus; the integrity is the tarball's, if known. */
export const requestOf = (
  { facts, attestations }: CorpusPackage,
  integrity: Integrity = facts.integrity,
): ExamineRequest => ({
  package: { name: facts.name, version: facts.version },
  integrity,
  claims: claimsOf(facts),
  attestations:
    attestations === undefined ? { kind: 'unclaimed' } : { kind: 'found', body: attestations },
})

export type ConformanceCase = {
  readonly title: string
  readonly expect: 'pass' | 'fail'
  readonly bundle: string
  readonly artifact: Buffer
  /** File of the case's own trusted root. */
  readonly root: string | undefined
  /** PEM of the case's own key. */
  readonly key: string | undefined
}

export const conformanceCases = (): ConformanceCase[] =>
  json<{ case: string; expect: 'pass' | 'fail' }[]>('conformance', 'expected.json').map(
    ({ case: title, expect }) => {
      const root = corpusFile('conformance', title, 'trusted_root.json')
      return {
        title,
        expect,
        bundle: readFileSync(corpusFile('conformance', title, 'bundle.sigstore.json'), 'utf8'),
        artifact:
          optional('conformance', title, 'artifact') ??
          readFileSync(corpusFile('conformance', 'a.txt')),
        root: existsSync(root) ? root : undefined,
        key: optional('conformance', title, 'key.pub')?.toString(),
      }
    },
  )
