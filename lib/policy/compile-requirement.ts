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

/** What an identity may be for: builds have certificates, registries have keys, people have either. */
const purposes = {
  provenance: {
    takes: ({ key }: IdentityPattern) => key === undefined,
    wanted: 'is a key, and builds sign with certificates; wanted an identity with issuer',
  },
  vouch: { takes: () => true, wanted: '' },
  signature: {
    takes: ({ key }: IdentityPattern) =>
      key !== undefined && key.validFrom === undefined && key.validUntil === undefined,
    wanted:
      'is no key that holds at any time: registries sign with keys, and their signatures tell no time',
  },
} as const
type Purpose = keyof typeof purposes

const missing = (said: string, purpose: Purpose, identities: Identities): string => {
  if (!reservedWords.has(said)) {
    const words = purpose === 'provenance' ? [...reservedWords] : []
    const near = didYouMean(said, [...Object.keys(identities), ...words])
    return `there is no identity ${JSON.stringify(said)}${near}`
  }
  return purpose === 'provenance'
    ? `${said} stands alone, not in a list`
    : `found ${said}; wanted whose it must be: an identity`
}

const identityIn = (
  said: string | IdentityDocument,
  at: Path,
  identities: Identities,
  desk: Desk,
  purpose: Purpose,
): IdentityPattern[] => {
  const named =
    typeof said !== 'string'
      ? compileIdentity(said, at, desk)
      : Object.hasOwn(identities, said)
        ? identities[said]
        : undefined
  const { takes, wanted } = purposes[purpose]
  if (named !== undefined && takes(named)) return [named]
  const [what, name] = typeof said === 'string' ? [said, said] : ['it', '']
  desk.complain({
    path: at,
    message: `${purpose}: ${named === undefined ? missing(name, purpose, identities) : `${what} ${wanted}`}`,
  })
  return []
}

const identityList = (
  list: readonly (string | IdentityDocument)[],
  at: Path,
  identities: Identities,
  desk: Desk,
  purpose: Purpose,
): readonly IdentityPattern[] =>
  list.flatMap((one, i) => {
    const path = [...at, i]
    if (typeof one === 'string' && list.indexOf(one) < i)
      desk.complain({ path, message: `${purpose}: ${one} stands in the list twice` })
    return identityIn(one, path, identities, desk, purpose)
  })

const compileSigners = (
  said: RequirementDocument['vouch'],
  at: Path,
  identities: Identities,
  desk: Desk,
  purpose: 'vouch' | 'signature',
): Partial<Record<typeof purpose, readonly IdentityPattern[]>> =>
  said === undefined
    ? {}
    : {
        [purpose]: Array.isArray(said)
          ? identityList(said, at, identities, desk, purpose)
          : identityIn(said, at, identities, desk, purpose),
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
  return {
    want: 'identity',
    identities: Array.isArray(said)
      ? identityList(said, at, identities, desk, 'provenance')
      : identityIn(said, at, identities, desk, 'provenance'),
  }
}

const keys = [
  'registrySignature',
  'publishAttestation',
  'provenance',
  'manifest',
  'vouch',
  'signature',
] as const

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
    const signersOf = (purpose: 'vouch' | 'signature') => {
      const { require, at: place, silent } = giver(purpose) ?? base
      const path = [...place, purpose]
      return compileSigners(require[purpose], path, identities, silent ? quiet : desk, purpose)
    }
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
      ...signersOf('vouch'),
      ...signersOf('signature'),
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
