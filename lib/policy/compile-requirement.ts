/** `require` → the alternatives that judge, with what they take over from `defaults.require`. */
import { didYouMean } from '../config/nearest.ts'
import { builtInRequirement } from './baseline.ts'
import { compileIdentity, type Desk } from './compile-identity.ts'
import type { IdentityPattern, ProvenanceDemand, Requirement } from './policy.ts'
import type { IdentityDocument, RequirementDocument } from './schema.ts'

type Path = readonly PropertyKey[]
type Identities = Readonly<Record<string, IdentityPattern>>
/** `defaults.require` and where it stands; `silent` when its complaints were made already. */
type Base = { readonly require: RequirementDocument; readonly at: Path; readonly silent?: true }

/** Words of `provenance` that cannot be names of identities. */
export const reservedWords: ReadonlySet<string> = new Set([
  'ignore',
  'if-present',
  'required',
  'any',
])

export const inherited = (base: Base): Base => ({ ...base, silent: true })

const identityIn = (
  said: string | IdentityDocument,
  at: Path,
  identities: Identities,
  desk: Desk,
): IdentityPattern[] => {
  if (typeof said !== 'string') return [compileIdentity(said, at, desk)]
  const named = Object.hasOwn(identities, said) ? identities[said] : undefined
  if (named !== undefined) return [named]
  desk.complain({
    path: at,
    message: reservedWords.has(said)
      ? `provenance: ${said} stands alone, not in a list`
      : `provenance: there is no identity ${JSON.stringify(said)}${didYouMean(said, [...Object.keys(identities), ...reservedWords])}`,
  })
  return []
}

const compileProvenance = (
  said: RequirementDocument['provenance'],
  at: Path,
  identities: Identities,
  desk: Desk,
): ProvenanceDemand => {
  if (said === undefined) return builtInRequirement.provenance
  if (said === 'ignore' || said === 'if-present' || said === 'required') return { want: said }
  if (said === 'any') return { want: 'required' }
  if (!Array.isArray(said))
    return { want: 'identity', identities: identityIn(said, at, identities, desk) }
  const list = said.flatMap((one, i) => {
    if (typeof one === 'string' && said.indexOf(one) < i)
      desk.complain({
        path: [...at, i],
        message: `provenance: ${one} stands in the list twice`,
      })
    return identityIn(one, [...at, i], identities, desk)
  })
  return { want: 'identity', identities: list }
}

const keys = ['registrySignature', 'publishAttestation', 'provenance', 'manifest'] as const

/**
 * The alternatives: what each says, else what stands beside `anyOf`, else `defaults.require`, else
 * what is built in. Where provenance is ignored nothing is asked of the publish attestation either,
 * unless somebody said so.
 */
export const compileRequirements = (
  said: RequirementDocument,
  at: Path,
  base: Base,
  identities: Identities,
  desk: Desk,
): readonly Requirement[] => {
  const quiet: Desk = { ...desk, complain: () => undefined }
  const make = (levels: readonly Base[]): Requirement => {
    const giver = (key: (typeof keys)[number]) => levels.find(l => l.require[key] !== undefined)
    const from = giver('provenance')
    const provenance = compileProvenance(
      from?.require.provenance,
      [...(from?.at ?? []), 'provenance'],
      identities,
      from?.silent ? quiet : desk,
    )
    const publish = giver('publishAttestation')?.require.publishAttestation
    return {
      registrySignature:
        giver('registrySignature')?.require.registrySignature ??
        builtInRequirement.registrySignature,
      publishAttestation:
        publish ??
        (provenance.want === 'ignore' ? 'ignore' : builtInRequirement.publishAttestation),
      provenance,
      manifest: giver('manifest')?.require.manifest ?? builtInRequirement.manifest,
    }
  }
  const own: Base = { require: said, at }
  if (said.anyOf === undefined) return [make([own, base])]
  return said.anyOf.map((alternative, i) => {
    const path = [...at, 'anyOf', i]
    for (const key of keys)
      if (alternative[key] !== undefined && said[key] !== undefined)
        desk.complain({
          path: [...path, key],
          message: `${key} stands beside anyOf as well; say it in one of the two places`,
        })
    return make([
      { require: alternative, at: path },
      i === 0 ? own : { ...own, silent: true },
      base,
    ])
  })
}
