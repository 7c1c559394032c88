/**
 * SLSA Verification Summary Attestations (slsa.dev/spec/v1.1/verification_summary): that a package
 * version was verified here and met the policy, as an in-toto statement.
 */
import type { Integrity, PackageId } from '../types.ts'
import type { BuildLevel } from './build-level.ts'

export const summaryType = 'https://slsa.dev/verification_summary/v1'

export type SummaryInput = {
  readonly package: PackageId
  readonly integrity: Integrity
  readonly verifier: { readonly id: string; readonly version: string }
  /** `digest` is sha256, hex. */
  readonly policy: { readonly uri: string; readonly digest: string }
  readonly time: Date
  /** All that were used, or undefined where not all can be told; `digest` is sha256, hex. */
  readonly attestations?: readonly {
    readonly predicateType: string
    readonly uri: string
    readonly digest: string
  }[]
  readonly level: BuildLevel
}

/** As npm names what its attestations are about: the scope's @ encoded, its slash not. */
export const purlOf = ({ name, version }: PackageId): string =>
  `pkg:npm/${name.replace(/^@/, '%40')}@${encodeURIComponent(version)}`

export const summaryOf = (input: SummaryInput): object => {
  const { integrity, verifier, policy, time, attestations, level } = input
  const purl = purlOf(input.package)
  const sha512 = Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex')
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: purl, digest: { sha512 } }],
    predicateType: summaryType,
    predicate: {
      verifier: { id: verifier.id, version: { attestry: verifier.version } },
      timeVerified: time.toISOString(),
      resourceUri: purl,
      policy: { uri: policy.uri, digest: { sha256: policy.digest } },
      // absent means that none are told; where it is there it has all, also when that is none
      ...(attestations && {
        inputAttestations: attestations.map(({ predicateType, uri, digest }) => ({
          name: predicateType,
          uri,
          digest: { sha256: digest },
        })),
      }),
      verificationResult: 'PASSED',
      verifiedLevels: [level],
      slsaVersion: '1.1',
    },
  }
}
