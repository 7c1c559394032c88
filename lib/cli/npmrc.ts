/** `attestry npmrc`: the lines by which package managers ask this server. */
import { didYouMean } from '../config/nearest.ts'
import { AttestryError } from '../errors.ts'
import { helpText, parseArguments } from './arguments.ts'
import type { Io, Run } from './io.ts'
import { clientLines, fileText, npmrcClients, type NpmrcClient } from './npmrc/lines.ts'
import { sessionJack, sessionSettings, type SessionValues } from './session.ts'

const options = () =>
  sessionJack(
    'attestry npmrc [options]',
    'Print the lines that make a package manager ask Attestry, and the file they belong into. With --client they can be appended to that file as they are.',
  )
    .opt({
      client: {
        hint: 'name',
        description: `One of ${npmrcClients.join(', ')}; default: all. yarn is Yarn 2 and later.`,
      },
      url: { short: 'u', hint: 'url', description: 'The server; default: publicUrl.' },
    })
    .flag({ json: { description: 'Print JSON.' } })

const isClient = (name: string): name is NpmrcClient =>
  npmrcClients.some(client => client === name)

/** An address as clients are told it. Throws EUSAGE. */
const checkedUrl = (text: string): string => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    throw new AttestryError('EUSAGE', `--url: wanted an http or https URL; found "${text}"`)
  if (url.username || url.password || url.search || url.hash)
    throw new AttestryError('EUSAGE', '--url: wanted no user, password, query or # in it')
  return url.href.endsWith('/') ? url.href : `${url.href}/`
}

const configuredUrl = async (values: SessionValues, io: Io): Promise<string> => {
  const { publicUrl, publicUrlGiven, listen } = await sessionSettings(values, io)
  if (!publicUrlGiven && listen.port === 0)
    throw new AttestryError(
      'EUSAGE',
      'the server takes any free port, so its address is not known before it runs; say it with --url',
    )
  return publicUrl
}

export const npmrc: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  if (positionals.length > 0)
    throw new AttestryError(
      'EUSAGE',
      `npmrc takes options only; found ${positionals.join(' ')}`,
    )
  const { client } = values
  if (client !== undefined && !isClient(client))
    throw new AttestryError(
      'EUSAGE',
      `--client: there are no lines for ${JSON.stringify(client)}${didYouMean(client, npmrcClients)}; there are for ${npmrcClients.join(', ')}`,
    )
  const url =
    values.url === undefined ? await configuredUrl(values, io) : checkedUrl(values.url)
  const clients: readonly NpmrcClient[] = client === undefined ? npmrcClients : [client]
  const all = clients.map(name => [name, clientLines(name, url)] as const)
  io.stdout.write(
    values.json
      ? `${JSON.stringify({ url, clients: Object.fromEntries(all) }, null, 2)}\n`
      : all.map(([, lines]) => fileText(lines)).join('\n'),
  )
  return 0
}
