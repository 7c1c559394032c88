/** `attestry vouch NAME@VERSION`: looks at the version, shows what will be signed, signs and keeps it. */
import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Signer } from '../../attest/signer.ts'
import { AttestryError, messageOf } from '../../errors.ts'
import { vouchStatement, type KeptVouch, type VouchPredicate } from '../../evidence/vouch.ts'
import type { Assessment } from '../../gate/assessments.ts'
import type { Taken } from '../../gate/vouching.ts'
import { durationWanted, endWanted, parseDuration, parseEnd } from '../../policy/duration.ts'
import { voucherName } from '../../policy/vouch.ts'
import type { Evidence, Integrity, PackageId } from '../../types.ts'
import { signerFor, signerLists, signerOptions } from '../attest/signer.ts'
import { helpText, parseArguments } from '../arguments.ts'
import type { Io, Run } from '../io.ts'
import { packageSpec } from '../package-spec.ts'
import { openSession, sessionJack, type Session } from '../session.ts'
import { jsonText } from '../store-session.ts'
import { openTarball } from '../verify/tarball-file.ts'
import { postToServer, serverOptions } from './where.ts'

const options = () =>
  sessionJack(
    'attestry vouch <package>@<version> --reason TEXT (--key FILE | --fulcio URL --rekor URL) [options]\n  attestry vouch list | revoke | import',
    'Sign, as somebody whom a policy names, that this version with exactly its bytes may be used. Shows what will be signed first, and asks at a terminal.',
  )
    .optList(signerLists)
    .opt({
      ...signerOptions,
      reason: { hint: 'text', description: 'Why: what was looked at, and found. Needed.' },
      by: {
        hint: 'name',
        description: 'What you call yourself; the signature says who it was.',
      },
      expires: {
        hint: 'when',
        description: 'When it ends: 90d, a day or an instant. Default never.',
      },
      tarball: {
        hint: 'file',
        description: 'The bytes that were looked at: they must be those of the packument.',
      },
      out: { short: 'o', hint: 'file', description: 'Writes the bundle there.' },
      ...serverOptions,
    })
    .flag({
      'no-store': { description: 'Keeps it nowhere; for use with --out.' },
      yes: { short: 'y', description: 'Does not ask.' },
      json: { description: 'Print JSON.' },
    })

type Values = ReturnType<ReturnType<typeof options>['parse']>['values']

const usage = (message: string): never => {
  throw new AttestryError('EUSAGE', `vouch: ${message}`)
}

const endOf = (said: string | undefined, now: Date): string | undefined => {
  if (said === undefined) return undefined
  const duration = parseDuration(said)
  const end =
    duration === undefined ? parseEnd(said) : new Date(now.getTime() + duration).toISOString()
  if (end === undefined) return usage(`--expires: ${durationWanted}; or ${endWanted}`)
  if (Date.parse(end) <= now.getTime()) return usage(`--expires: ${end} is over`)
  return end
}

const factsOf = (evidence: Evidence) => {
  const { registrySignature, publishAttestation, provenance } = evidence
  return { registrySignature, publishAttestation, provenance }
}

/** What was forged cannot be vouched for: no policy would take the vouch. */
const checkEvidence = ({ input: { evidence, package: id } }: Assessment): void => {
  const { bytes } = evidence
  for (const fact of [...Object.values(factsOf(evidence)), bytes]) {
    if (fact?.state === 'invalid')
      throw new AttestryError(
        'EVOUCH',
        `${id.name}@${id.version}: ${fact.code}: ${fact.detail} A vouch never speaks for what does not verify.`,
      )
  }
}

const integrityOf = async (
  { input: { claims, package: id } }: Assessment,
  tarball: string | undefined,
  { settings }: Session,
  io: Io,
): Promise<Integrity> => {
  const { integrity: stated } = claims
  if (tarball === undefined)
    return (
      stated ??
      usage(`the packument names no sha512 of ${id.name}@${id.version}; wanted --tarball FILE`)
    )
  const file = await openTarball(resolve(io.cwd, tarball), settings.limits.unpacked)
  await file.close()
  if (stated === undefined || file.integrity === stated) return file.integrity
  throw new AttestryError(
    'EVOUCH',
    `${tarball} is ${file.integrity}, and the packument names ${stated}: these are other bytes.`,
  )
}

const predicateOf = (
  reason: string,
  { input: { evidence, claims, upstream } }: Assessment,
  { by, expires, tarball }: Values,
  { rooms }: Session,
  now: Date,
): VouchPredicate => {
  const until = endOf(expires, now)
  const states = Object.entries(factsOf(evidence)).map(([name, { state }]) => [name, state])
  return {
    reason,
    ...(by !== undefined && { vouchedBy: by }),
    vouchedAt: now.toISOString(),
    ...(until !== undefined && { expiresAt: until }),
    examined: {
      upstream: rooms.upstreams.get(upstream)?.url ?? upstream,
      ...(claims.publishedAt !== undefined && { publishedAt: claims.publishedAt }),
      ...Object.fromEntries(states),
      ...(tarball !== undefined && { tarball: 'sha512 compared' }),
    },
  }
}

/** Nobody at a terminal: whoever runs it has decided. */
const agreed = async (
  statement: object,
  { who }: Signer,
  { yes, json }: Values,
  io: Io,
): Promise<boolean> => {
  const shown = `${JSON.stringify(statement, null, 2)}\n\nSigned by ${who}.\n`
  if (!json || io.ask) io.stderr.write(shown)
  if (yes === true || !io.ask) return true
  return /^y(es)?$/i.test((await io.ask('Sign it? [y/N] ')).trim())
}

const keep = async (
  kept: KeptVouch,
  id: PackageId,
  values: Values,
  { gate }: Session,
  io: Io,
): Promise<Taken> => {
  // ours must be one that this site takes, wherever it is kept
  const taken = await gate.vouching.verified(kept, id)
  const { out, server } = values
  if (out !== undefined)
    await writeFile(resolve(io.cwd, out), jsonText(kept.bundle)).catch((error: unknown) => {
      throw new AttestryError('EVOUCH', `${out}: cannot be written: ${messageOf(error)}`)
    })
  if (server !== undefined) await postToServer(values, '-/attestry/vouches', kept, io)
  else if (values['no-store'] !== true) await gate.vouching.add(kept, id)
  return taken
}

const placeOf = ({ server, out, 'no-store': none }: Values) =>
  [
    ...(server === undefined ? (none === true ? [] : ['in the store']) : [`by ${server}`]),
    ...(out === undefined ? [] : [`in ${out}`]),
  ].join(' and ')

const vouchFor = async (id: PackageId, reason: string, values: Values, io: Io) => {
  // what is wrong with the options is told before anybody is asked for anything
  endOf(values.expires, new Date())
  const signer = await signerFor(values, io)
  const session = await openSession(values, io)
  try {
    const assessment = await session.gate.assess(id)
    checkEvidence(assessment)
    const integrity = await integrityOf(assessment, values.tarball, session, io)
    const predicate = predicateOf(reason, assessment, values, session, new Date())
    const statement = vouchStatement(id, integrity, predicate)
    if (!(await agreed(statement, signer, values, io))) {
      io.stderr.write('Nothing was signed.\n')
      return 1
    }
    const bundle = await signer.signStatement(statement)
    const kept = { bundle, ...(signer.key && { publicKey: signer.key.publicKey }) }
    const { vouch } = await keep(kept, id, values, session, io)
    if (values.json) {
      io.stdout.write(jsonText({ package: id, integrity, vouch, bundle }))
      return 0
    }
    const text = `${id.name}@${id.version}`
    io.stdout.write(
      `${text} is vouched for by ${voucherName(vouch)}, kept ${placeOf(values)}.\nVouch ${vouch.id}\n`,
    )
    return 0
  } finally {
    await session.close()
  }
}

export const make: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const [spec, ...more] = positionals
  if (spec === undefined || more.length > 0)
    return usage(`wanted one package as name@version; found ${positionals.length}`)
  const id = packageSpec(spec)
  const { reason, server, out } = values
  if (reason === undefined || reason.trim() === '') return usage('wanted --reason')
  if (reason.length > 1000) return usage('--reason: at most 1000 characters')
  if (values['no-store'] === true && (out === undefined || server !== undefined))
    return usage('--no-store is for use with --out, and without --server')
  return vouchFor(id, reason, values, io)
}
