/** Package versions as they would be observed, with only what a test is about spelled out. */
import { observationOf, type Observation } from '../../lib/learn/observation.ts'
import type { Identity, JudgeInput } from '../../lib/types.ts'
import { absent, identity, input, signed, verified } from '../policy/material.ts'

/** A GitHub workflow; `undefined` fields are left out of the certificate. */
export type Build = { readonly repo: string; readonly id?: string | undefined } & Partial<
  Record<
    'workflow' | 'ref' | 'trigger' | 'runner' | 'environment' | 'signer',
    string | undefined
  >
>

/** Numbers that are the same for the same repository. */
export const numberOf = (repo: string): string =>
  String(Array.from(repo).reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) % 1_000_003, 7))

export const builtBy = (build: Build, version: string): Identity => {
  const repository = `https://github.com/${build.repo}`
  const all = {
    workflow: '.github/workflows/release.yml',
    ref: `refs/tags/v${version}`,
    trigger: 'push',
    runner: 'github-hosted',
    environment: undefined,
    repositoryId: 'id' in build ? build.id : numberOf(build.repo),
    ...build,
  }
  const uri = `${repository}/${all.workflow}@${all.ref}`
  const { repo: _repo, id: _id, ...fields } = { ...all, signer: build.signer ?? uri }
  return Object.fromEntries(
    Object.entries({ ...identity(), subject: fields.signer, repository, ...fields }).filter(
      ([, value]) => value !== undefined,
    ),
  ) as Identity
}

/** One version; without a build it has none. `unsigned`: not even by the registry. */
export type Seen = {
  readonly name: string
  readonly version: string
  readonly build?: Build
  readonly unsigned?: boolean
  /** Other versions, those with provenance marked by a `+` at their end. */
  readonly others?: readonly string[]
}

export const judged = ({ name, version, build, unsigned, others = [] }: Seen): JudgeInput =>
  input({
    name,
    version,
    registrySignature: unsigned ? absent : signed,
    provenance: build ? verified(builtBy(build, version)) : absent,
    history: others.map(text => ({
      version: text.replace(/\+$/, ''),
      claimsProvenance: text.endsWith('+'),
    })),
  })

export const seen = (...all: readonly Seen[]): readonly Observation[] =>
  all.map(one => observationOf(judged(one)))
