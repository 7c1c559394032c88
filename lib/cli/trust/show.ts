/** `attestry trust show` and `attestry trust refresh` */
import { openTrustRoom } from '../../rooms.ts'
import type { SourceStatus, TrustStatus, UpstreamTrust } from '../../trust/status.ts'
import { roles } from '../../trust/tuf-state.ts'
import { helpText, parseOptions } from '../arguments.ts'
import type { Io, Run } from '../io.ts'
import { sessionSettings } from '../session.ts'
import { columns, jsonText, storeJack, type StoreValues } from '../store-session.ts'

const day = (time: string | undefined) => time?.slice(0, 10) ?? 'no end'

const originText = ({ origin, checkedAt }: SourceStatus): string => {
  if (origin === 'shipped')
    return 'the copy shipped in @sigstore/tuf; its repository has not been verified here'
  const verb = origin === 'file' ? 'read' : 'verified whole'
  return `${verb} ${checkedAt ?? 'at no known time'}`
}

/** Whoever runs it could sign as anybody. */
const isFree = ({ kind, scope }: SourceStatus) =>
  kind !== 'public-good' && scope.issuers === undefined && scope.subjects === undefined

const sourceText = (source: SourceStatus): string => {
  const { label, scope, digest, metadata, keys, failure } = source
  const versions = roles.flatMap(role => {
    const status = metadata?.[role]
    return status ? [`${role} ${status.version} (until ${day(status.expires)})`] : []
  })
  const facts = [
    originText(source),
    `sha256 ${digest}`,
    ...(versions.length > 0 ? [`TUF ${versions.join(', ')}`] : []),
    ...(scope.issuers ? [`speaks for issuers ${scope.issuers.join(', ')} only`] : []),
    ...(scope.subjects ? [`speaks for subjects ${scope.subjects.join(', ')} only`] : []),
    ...(isFree(source) ? ['speaks for anybody: tie it with issuers'] : []),
    ...(failure ? [`not renewed since ${failure.since}: ${failure.message}`] : []),
  ]
  const rows = keys.map(({ kind, name, from, until }) => [
    `  ${kind}`,
    day(from),
    day(until),
    name,
  ])
  return `${label}\n${facts.map(fact => `  ${fact}\n`).join('')}${columns(rows)}`
}

const upstreamText = ({ upstream, digest, keysFrom, registryKeys }: UpstreamTrust): string => {
  const rows = registryKeys.map(({ usage, keyId, validFrom, validUntil }) => [
    `  ${usage}`,
    validFrom === undefined ? 'no start' : day(validFrom),
    day(validUntil),
    keyId,
  ])
  return `upstream ${upstream}\n  trust ${digest}\n  registry keys: ${keysFrom}\n${columns(rows)}`
}

const text = ({ sources, upstreams, warnings }: TrustStatus): string =>
  [
    ...sources.map(sourceText),
    ...upstreams.map(upstreamText),
    ...(warnings.length > 0 ? [warnings.map(({ message }) => `${message}\n`).join('')] : []),
  ].join('\n')

const open = async (values: StoreValues, io: Io, offline: boolean) => {
  const settings = await sessionSettings(values, io)
  return openTrustRoom(settings, settings.upstreams, offline ? { offline } : {})
}

/** Asks nobody: prints what a server would begin with. */
export const show: Run = async (args, io) => {
  const command = storeJack(
    'attestry trust show [options]',
    'Print roots, registry keys, where they are from and when they end. Asks no repository.',
  )
  const values = parseOptions(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const status = (await open(values, io, true)).status()
  io.stdout.write(values.json ? jsonText(status) : text(status))
  return 0
}

/** Exits with 2 when a source could not be renewed. */
export const refresh: Run = async (args, io) => {
  const command = storeJack(
    'attestry trust refresh [options]',
    'Ask the TUF repositories now; what is verified is kept for the next start.',
  )
  const values = parseOptions(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const trust = await open(values, io, false)
  const status = await trust.renew()
  io.stdout.write(values.json ? jsonText(status) : text(status))
  return status.warnings.some(({ kind }) => kind === 'failed' || kind === 'refused') ? 2 : 0
}
