/** `attestry log search` */
import { AttestryError, isAttestryError, messageOf } from '../../errors.ts'
import { knownLogs, openLogCheckpoint, type KnownLog } from '../../rekor/known-logs.ts'
import { openLogClient, type LogEntry } from '../../rekor/log-client.ts'
import { signersIn } from '../../rekor/entry-signer.ts'
import { leafHash, provesInclusion } from '../../transparency/merkle.ts'
import type { Integrity } from '../../types.ts'
import { plain } from '../audit/paint.ts'
import { helpText, parseArguments } from '../arguments.ts'
import type { Run } from '../io.ts'
import { packageSpec } from '../package-spec.ts'
import { openSession, sessionJack } from '../session.ts'
import { jsonText } from '../store-session.ts'

const mostEntries = 20

const options = () =>
  sessionJack(
    'attestry log search <package@version> [options]',
    "Ask a Rekor (version 1) which entries it has about a version's tarball, by its sha512, and who signed them. Exit code 0 when there are some, 1 when there are none, 2 when one that it gave is not proven to be in the log, or the log could not be asked.",
  )
    .opt({
      rekor: { hint: 'url', description: 'Its address; default the one in the trusted root.' },
    })
    .flag({ json: { description: 'Print JSON.' } })

/** Is it what the log has signed, at the place it says? */
const isProven = (entry: LogEntry, log: KnownLog): boolean => {
  const { body, proof } = entry
  try {
    const head = openLogCheckpoint(proof.checkpoint, [log])
    return (
      head?.size === proof.treeSize &&
      provesInclusion({
        leaf: proof.logIndex,
        size: proof.treeSize,
        hash: leafHash(body),
        root: head.root,
        proof: proof.hashes,
      })
    )
  } catch (error) {
    if (isAttestryError(error)) return false
    throw error
  }
}

const digestOf = (integrity: Integrity) =>
  `sha512:${Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex')}`

export const search: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const [spec, ...more] = positionals
  if (spec === undefined || more.length > 0)
    throw new AttestryError('EUSAGE', 'log search: wanted one package as name@version')
  const id = packageSpec(spec)
  const session = await openSession(values, io)
  try {
    const { rooms, gate } = session
    const { verdict } = await gate.assess(id)
    const { integrity, package: exact } = verdict
    if (integrity === undefined)
      throw new AttestryError('ENOTFOUND', `${id.name}@${id.version} states no sha512.`)
    const roots = [...rooms.upstreams.keys()].flatMap(
      name => rooms.trust.materialOf(name).roots,
    )
    const logs = knownLogs(roots).filter(({ version }) => version === 1)
    const [first] = logs
    if (first === undefined)
      throw new AttestryError('ENOTFOUND', 'The trusted roots name no Rekor of version 1.')
    const log = values.rekor === undefined ? first : { ...first, baseUrl: values.rekor }
    const client = openLogClient(log)
    const hash = digestOf(integrity)
    const uuids = await client.find(hash)
    const entries = []
    for (const uuid of uuids.slice(0, mostEntries)) {
      const entry = await client.entryOf(uuid)
      if (entry === undefined) continue
      const { kind, signers } = signersIn(entry.body)
      entries.push({
        uuid,
        logIndex: entry.logIndex,
        at: new Date(entry.integratedTime * 1000).toISOString(),
        kind,
        signers,
        proven: logs.some(one => isProven(entry, one)),
      })
    }
    const unproven = entries.some(({ proven }) => !proven)
    const { name, version } = exact
    const result = {
      package: `${name}@${version}`,
      hash,
      rekor: log.baseUrl,
      found: uuids.length,
    }
    if (values.json) io.stdout.write(jsonText({ ...result, entries }))
    else {
      for (const { logIndex, at, kind, signers, proven } of entries) {
        const who = signers.map(({ subject, issuer, key }) =>
          subject === undefined ? `key ${key}` : `${subject} (${issuer ?? 'no issuer'})`,
        )
        const said = [String(logIndex), at, kind, `by ${who.join(', ')}`]
        io.stdout.write(`${said.map(plain).join('  ')}${proven ? '' : '  NOT PROVEN'}\n`)
      }
      io.stdout.write(
        `${uuids.length} entries about ${plain(result.package)} at ${plain(log.baseUrl)}.\n`,
      )
    }
    return unproven ? 2 : entries.length > 0 ? 0 : 1
  } catch (error) {
    if (isAttestryError(error)) throw error
    throw new AttestryError('EREKOR', messageOf(error), { cause: error })
  } finally {
    await session.close()
  }
}
