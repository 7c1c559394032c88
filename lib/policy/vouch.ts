/**
 * Vouches and signatures by keys held against who may make them. A vouch counts when its signer is
 * one of those named, it has neither ended nor been revoked, and it verified over exactly these bytes.
 */
import type { Evidence, Fact, Reason, RegistrySignature, Vouch } from '../types.ts'
import { instant } from './duration.ts'
import {
  mismatchReasons,
  nearestTrial,
  tryIdentity,
  type FieldComparison,
  type IdentityTrial,
} from './identity.ts'
import type { IdentityPattern, KeyPattern } from './policy.ts'
import { invalidReason, reason, unavailableReason } from './reason.ts'

type Verified = Extract<Fact<Vouch>, { readonly state: 'verified' }>

/** Who vouched, in words. */
export const voucherName = ({ signer }: Pick<Vouch, 'signer'>): string =>
  signer.kind === 'key' ? `key ${signer.keyId}` : signer.identity.subject

const keyTrial = (
  pattern: IdentityPattern,
  { text, keyId }: KeyPattern,
  found: string | undefined,
  more: readonly FieldComparison[],
): IdentityTrial => {
  const wanted = keyId ?? `${text} (not read here)`
  const field: FieldComparison = {
    field: 'key',
    wanted,
    ...(found !== undefined && { found }),
    ok: keyId !== undefined && found === keyId,
  }
  const fields = [field, ...more]
  return { pattern, matched: fields.every(f => f.ok), fields }
}

/** A key that holds for a time only needs somebody to tell the time. */
const periodOf = (
  { validFrom, validUntil }: KeyPattern,
  time: string | undefined,
): readonly FieldComparison[] => {
  if (validFrom === undefined && validUntil === undefined) return []
  const at = instant(time)
  const ok =
    at !== undefined &&
    at >= (instant(validFrom) ?? 0) &&
    at < (instant(validUntil) ?? Number.POSITIVE_INFINITY)
  const wanted = [
    ...(validFrom === undefined ? [] : [`from ${validFrom}`]),
    ...(validUntil === undefined ? [] : [`before ${validUntil}`]),
  ].join(' and ')
  return [{ field: 'signedAt', wanted, ...(time !== undefined && { found: time }), ok }]
}

export const tryVoucher = (
  pattern: IdentityPattern,
  { signer, signedAt }: Vouch,
  version: string,
): IdentityTrial => {
  const { key } = pattern
  if (key !== undefined)
    return signer.kind === 'key'
      ? keyTrial(pattern, key, signer.keyId, periodOf(key, signedAt?.time))
      : keyTrial(pattern, key, undefined, [])
  if (signer.kind === 'certificate') return tryIdentity(pattern, signer.identity, version)
  // of somebody with a key nothing is known that a certificate would tell
  return tryIdentity(
    pattern,
    { issuer: '', subject: voucherName({ signer }), subjectType: 'other' },
    version,
  )
}

/** For conditions: the signers of vouches that hold, whoever they are. */
export const vouchersIn = (vouches: readonly Fact<Vouch>[], now: Date): readonly string[] =>
  vouches.flatMap(fact => {
    if (fact.state !== 'verified' || fact.revoked !== undefined) return []
    const { signer, said } = fact
    if (said.until !== undefined && !(now.getTime() < (instant(said.until) ?? 0))) return []
    return signer.kind === 'key'
      ? [signer.keyId]
      : [`${signer.identity.issuer} ${signer.identity.subject}`]
  })

/** When vouches that hold now will have ended. */
export const endsOf = (
  vouches: readonly Fact<Vouch>[] | undefined,
  now: Date,
): readonly number[] =>
  (vouches ?? []).flatMap(fact => {
    const end = fact.state === 'verified' ? instant(fact.said.until) : undefined
    return end !== undefined && now.getTime() < end ? [end] : []
  })

/** What stands against one vouch, and when time will put something against it. */
export type VouchTrial = {
  readonly reasons: readonly Reason[]
  readonly trials: readonly IdentityTrial[]
  /** For those that hold: when they end. */
  readonly ends?: number
}

const tryVouch = (
  vouch: Verified,
  wanted: readonly IdentityPattern[],
  version: string,
  now: Date,
): VouchTrial => {
  const trials = wanted.map(pattern => tryVoucher(pattern, vouch, version))
  if (!trials.some(({ matched }) => matched))
    return { trials, reasons: mismatchReasons(trials, 'voucher') }
  const who = `the vouch of ${voucherName(vouch)}`
  const { revoked, said } = vouch
  if (revoked !== undefined) {
    const message = `${who} was revoked: ${revoked.reason}`
    return { trials, reasons: [reason('VOUCH_REVOKED', message, { field: 'vouch' })] }
  }
  const end = instant(said.until)
  if (said.until === undefined) return { trials, reasons: [] }
  if (end !== undefined && now.getTime() < end) return { trials, reasons: [], ends: end }
  const message = `${who} ended at ${said.until}`
  return { trials, reasons: [reason('VOUCH_EXPIRED', message, { field: 'vouch' })] }
}

const tryFact = (
  fact: Fact<Vouch>,
  wanted: readonly IdentityPattern[],
  version: string,
  now: Date,
): VouchTrial => {
  if (fact.state === 'verified') return tryVouch(fact, wanted, version, now)
  if (fact.state === 'invalid') return { trials: [], reasons: [invalidReason('vouch', fact)] }
  if (fact.state === 'unavailable')
    return { trials: [], reasons: [unavailableReason('a vouch', fact.detail)] }
  return { trials: [], reasons: [] }
}

export type VouchFinding = VouchTrial & { readonly wanted: string; readonly found: string }

const namesOf = (wanted: readonly IdentityPattern[]): string =>
  wanted.map(p => p.name ?? 'an identity written in the rule').join(' or ')

/** One of the vouches must hold; where none does, what stands against the one that came nearest. */
export const vouchFinding = (
  wanted: readonly IdentityPattern[],
  { vouches = [] }: Evidence,
  version: string,
  now: Date,
): VouchFinding => {
  const said = { wanted: `vouched for by ${namesOf(wanted)}` }
  const looked = vouches
    .filter(fact => fact.state !== 'absent')
    .map(fact => ({ fact, trial: tryFact(fact, wanted, version, now) }))
  const holding = looked.filter(({ trial }) => trial.reasons.length === 0)
  // the one that holds longest speaks
  const [best] = holding.toSorted(
    (a, b) =>
      (b.trial.ends ?? Number.POSITIVE_INFINITY) - (a.trial.ends ?? Number.POSITIVE_INFINITY) ||
      0,
  )
  if (best?.fact.state === 'verified')
    return {
      ...said,
      ...best.trial,
      found: `verified, by ${voucherName(best.fact)}: ${best.fact.said.reason}`,
    }
  if (looked.length === 0) {
    const message = `${said.wanted} is required and nobody has`
    const none = reason('NO_VOUCH', message, {
      field: 'vouch',
      wanted: namesOf(wanted),
      found: 'none',
    })
    return { ...said, trials: [], reasons: [none], found: 'none' }
  }
  // what could not be looked at might hold; then what was revoked or ended; then who is another
  const order = ['EVIDENCE_UNAVAILABLE', 'VOUCH_REVOKED', 'VOUCH_EXPIRED', 'IDENTITY_MISMATCH']
  const rank = ({ trial }: (typeof looked)[number]) => {
    const at = order.indexOf(trial.reasons[0]?.code ?? '')
    return at === -1 ? order.length : at
  }
  const [nearest] = looked.toSorted((a, b) => rank(a) - rank(b))
  const found = `${looked.length === 1 ? 'one' : looked.length} that ${looked.length === 1 ? 'does' : 'do'} not count`
  return { ...said, trials: [], reasons: [], ...nearest?.trial, found }
}

/** One of the keys must have made a registry signature that verified. */
export const signatureFinding = (
  wanted: readonly IdentityPattern[],
  fact: Fact<RegistrySignature>,
): VouchFinding => {
  const said = { wanted: `signed with the key of ${namesOf(wanted)}` }
  const nothing = { ...said, trials: [] }
  if (fact.state === 'invalid')
    return {
      ...nothing,
      found: fact.state,
      reasons: [invalidReason('registry signature', fact)],
    }
  if (fact.state === 'unavailable')
    return {
      ...nothing,
      found: fact.state,
      reasons: [unavailableReason('registry signature', fact.detail)],
    }
  if (fact.state === 'absent') {
    const message = `a signature with the key of ${namesOf(wanted)} is required and there is none`
    const none = reason('UNSIGNED', message, { field: 'signature', found: 'none' })
    return { ...nothing, found: 'none', reasons: [none] }
  }
  const { fingerprints = [] } = fact
  const trials = wanted.flatMap(pattern =>
    pattern.key === undefined
      ? []
      : (fingerprints.length === 0 ? [undefined] : fingerprints).map(found =>
          keyTrial(pattern, pattern.key ?? { text: '' }, found, []),
        ),
  )
  const found = `verified, by ${fingerprints.join(' and ')}`
  return trials.some(({ matched }) => matched)
    ? { ...said, trials, found, reasons: [] }
    : { ...said, trials, found, reasons: mismatchReasons(trials, 'signer') }
}

export const nearestOf = (trials: readonly IdentityTrial[]) => {
  const nearest = nearestTrial(trials)
  return {
    ...(trials.length > 0 && { identities: trials }),
    ...(nearest && { nearest }),
  }
}
