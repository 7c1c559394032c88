/** The tale: who publishes what, what everybody is told beforehand, and who is right. */
import type { ReasonCode } from '../../lib/types.ts'
import type { Attestation } from '../support/local-sigstore.ts'
import type { TestRegistry } from '../support/registry.ts'

export const policy = `version: 1
mode: enforce
identities:
  acme-release:
    issuer: https://token.actions.githubusercontent.com
    repository: https://github.com/acme/parcel
    workflow: .github/workflows/release.yml
rules:
  - name: parcel is built by acme's own release workflow
    packages: [parcel]
    require:
      registrySignature: required
      provenance: acme-release
`

export type Scene = {
  readonly title: string
  readonly tale: string
  /** What to ask npm for. */
  readonly spec: string
  /** What npm shall have installed through Attestry; none when it shall refuse. */
  readonly admits?: string
  /** The reason that must reach npm's terminal. */
  readonly refuses?: ReasonCode
  readonly publish: (world: { readonly registry: TestRegistry }) => Promise<void>
}

const acme = { repository: 'acme/parcel' }
const courier = { repository: 'courier-team/courier' }

export const scenes: readonly Scene[] = [
  {
    title: 'An honest release',
    tale:
      "acme's release workflow builds parcel 1.0.0 and signs for it: sigstore's log says so, " +
      'and so does the registry.',
    spec: 'parcel@1.0.0',
    admits: 'parcel@1.0.0',
    publish: async ({ registry }) => {
      await registry.publish({ name: 'parcel', version: '1.0.0', provenance: acme })
    },
  },
  {
    title: 'An unsigned release',
    tale: 'parcel 1.0.1 turns up without a single signature, as from a mirror that was broken into.',
    spec: 'parcel@1.0.1',
    refuses: 'UNSIGNED',
    publish: async ({ registry }) => {
      await registry.publish({ name: 'parcel', version: '1.0.1', signed: false })
    },
  },
  {
    title: 'A forged release',
    tale:
      'parcel 1.0.2 bears the attestations of 1.0.0. They are genuine, but they speak of other ' +
      'bytes.',
    spec: 'parcel@1.0.2',
    refuses: 'WRONG_SUBJECT',
    publish: async ({ registry }) => {
      const answer = await fetch(`${registry.url}-/npm/v1/attestations/parcel@1.0.0`)
      const { attestations } = (await answer.json()) as { attestations: Attestation[] }
      await registry.publish({ name: 'parcel', version: '1.0.2', attestations })
    },
  },
  {
    title: 'The wrong publisher',
    tale:
      'With a stolen token, an intruder publishes parcel 1.0.3 from a workflow elsewhere. Every ' +
      'signature verifies; only the name on them is another.',
    spec: 'parcel@1.0.3',
    refuses: 'IDENTITY_MISMATCH',
    publish: async ({ registry }) => {
      const provenance = { repository: 'intruder/parcel' }
      await registry.publish({ name: 'parcel', version: '1.0.3', provenance })
    },
  },
  {
    title: 'A downgraded release',
    tale:
      'No rule names courier. Its 2.0.0 came from a workflow, with provenance; 2.0.1 comes from ' +
      "somebody's laptop, without. The registry signs both.",
    spec: 'courier@2.0.1',
    refuses: 'DOWNGRADED',
    publish: async ({ registry }) => {
      await registry.publish({ name: 'courier', version: '2.0.0', provenance: courier })
      await registry.publish({ name: 'courier', version: '2.0.1' })
    },
  },
  {
    title: 'And everybody else',
    tale: 'Who asks for no version in particular gets the newest that the policy admits.',
    spec: 'parcel@^1.0.0',
    admits: 'parcel@1.0.0',
    publish: () => Promise.resolve(),
  },
]
