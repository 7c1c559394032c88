/**
 * How far up SLSA's build track the evidence reaches (slsa.dev/spec/v1.1/levels). What nobody has
 * proven counts for nothing: without provenance the level is not evaluated, which is not level 0.
 */
import type { Evidence, Identity } from '../types.ts'

export type BuildLevel =
  | 'SLSA_BUILD_LEVEL_UNEVALUATED'
  | 'SLSA_BUILD_LEVEL_1'
  | 'SLSA_BUILD_LEVEL_2'
  | 'SLSA_BUILD_LEVEL_3'

/** Runners that the platform itself keeps, as its certificates name them (.11). */
const hosted: Readonly<Record<string, string>> = {
  'https://token.actions.githubusercontent.com': 'github-hosted',
  'https://gitlab.com': 'gitlab-hosted',
}

/**
 * A workflow that makes provenance apart from the build, so that the build's own steps cannot reach
 * what signs it, at a release of it (slsa-framework/slsa-github-generator, "SLSA 3").
 */
const isolated =
  /^https:\/\/github\.com\/slsa-framework\/slsa-github-generator\/\.github\/workflows\/[a-z0-9_-]+_slsa3\.yml@refs\/tags\/v\d+\.\d+\.\d+$/

const isHosted = ({ issuer, runner }: Identity): boolean =>
  runner !== undefined && hosted[issuer] === runner

export const buildLevelOf = ({ provenance }: Pick<Evidence, 'provenance'>): BuildLevel => {
  if (provenance.state !== 'verified') return 'SLSA_BUILD_LEVEL_UNEVALUATED'
  const { identity } = provenance
  // there is provenance; who keeps the machine it was made on is not known, or the publisher does
  if (!isHosted(identity)) return 'SLSA_BUILD_LEVEL_1'
  return isolated.test(identity.signer ?? '') ? 'SLSA_BUILD_LEVEL_3' : 'SLSA_BUILD_LEVEL_2'
}
