/**
 * A sigstore SigningConfig (v0.2): which services to sign with. Of each kind the valid one with the
 * highest interface that is spoken here, and of these the one that began last
 * (sigstore protobuf-specs, sigstore_trustroot.proto).
 */
import { ServiceSelector, SigningConfig, type Service } from '@sigstore/protobuf-specs'
import { AttestryError, messageOf } from '../errors.ts'
import type { Log } from './rekor.ts'

export type SigningServices = {
  readonly fulcio: string
  readonly log?: Log
  readonly timestamps: readonly string[]
}

const mediaType = 'application/vnd.dev.sigstore.signingconfig.v0.2+json'
/** Interfaces spoken here. */
const spoken = { ca: 1, log: 2, tsa: 1 } as const

/** Those that are valid at `now`, the best first. */
const usable = (services: readonly Service[], most: number, now: Date): readonly Service[] =>
  services
    .filter(({ majorApiVersion, validFor }) => {
      const { start, end } = validFor ?? {}
      const begun = start === undefined || start <= now
      return majorApiVersion <= most && begun && (end === undefined || now < end)
    })
    .sort(
      (a, b) =>
        b.majorApiVersion - a.majorApiVersion ||
        (b.validFor?.start?.getTime() ?? 0) - (a.validFor?.start?.getTime() ?? 0),
    )

/** Throws EUSAGE; `where` names the document. */
export const readSigningConfig = (
  document: unknown,
  where: string,
  now: Date,
): SigningServices => {
  const fail = (what: string, cause?: unknown): never => {
    throw new AttestryError('EUSAGE', `${where}: ${what}`, { cause })
  }
  const parse = () => {
    try {
      return SigningConfig.fromJSON(document)
    } catch (error) {
      return fail(`it is no signing config: ${messageOf(error)}`, error)
    }
  }
  const config = parse()
  if (config.mediaType !== mediaType)
    fail(`found media type ${JSON.stringify(config.mediaType)}; wanted ${mediaType}`)
  const { caUrls, rekorTlogUrls, rekorTlogConfig, tsaUrls, tsaConfig } = config
  const [ca] = usable(caUrls, spoken.ca, now)
  if (ca === undefined) return fail('it names no certificate authority that can be used now')

  /** How many of them are to be asked. */
  const select = (
    what: string,
    found: readonly Service[],
    { selector, count }: { readonly selector: ServiceSelector; readonly count: number },
  ): readonly Service[] => {
    const wanted =
      selector === ServiceSelector.ALL
        ? found.length
        : selector === ServiceSelector.EXACT
          ? count
          : 1
    if (wanted < 1 || found.length < wanted)
      fail(`it asks for ${Math.max(wanted, 1)} ${what}, and ${found.length} can be used now`)
    return found.slice(0, wanted)
  }
  const logs = rekorTlogConfig
    ? select('logs', usable(rekorTlogUrls, spoken.log, now), rekorTlogConfig)
    : []
  if (logs.length > 1) fail(`it asks for ${logs.length} logs; one is supported`)
  const tsas = tsaConfig
    ? select('timestamp authorities', usable(tsaUrls, spoken.tsa, now), tsaConfig)
    : []
  const [log] = logs
  return {
    fulcio: ca.url,
    ...(log && { log: { url: log.url, version: log.majorApiVersion === 2 ? 2 : 1 } }),
    timestamps: tsas.map(({ url }) => url),
  }
}
