/** `attestry serve` as a process of its own, on the servers of a shared store. */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { openLogKey } from '../../../lib/sealing/log-key.ts'
import { eventually } from '../../contract/tools.ts'

export type InstanceOptions = {
  /** Its own: settings and what it keeps. */
  readonly folder: string
  readonly port: number
  readonly publicUrl?: string
  readonly upstream: string
  /** Files. */
  readonly keys: string
  readonly root: string
  readonly postgres: { readonly url: string; readonly schema: string }
  readonly s3: {
    readonly url: string
    readonly accessKeyId: string
    readonly secretAccessKey: string
  }
  /** Lines below `storage`, below `postgres` and `s3`, and at the top. */
  readonly storage?: readonly string[]
  readonly postgresSettings?: string
  readonly s3Settings?: string
  readonly settings?: readonly string[]
}

export type Instance = {
  /** Ends with a slash. */
  readonly url: string
  readonly child: ChildProcess
  /** The end of what it wrote to its log. */
  readonly said: () => string
  readonly ready: () => Promise<boolean>
}

const bin = resolve(import.meta.dirname, '../../../bin/attestry.ts')

const settingsOf = (options: InstanceOptions): string => {
  const { folder, port, postgres, s3 } = options
  const more = (text: string | undefined) => (text === undefined ? '' : `, ${text}`)
  return [
    `listen: 127.0.0.1:${port}`,
    ...(options.publicUrl === undefined ? [] : [`publicUrl: ${options.publicUrl}`]),
    'upstreams:',
    '  npm:',
    `    url: ${options.upstream}`,
    `    registryKeys: { file: ${options.keys} }`,
    `trust: { roots: [{ file: ${options.root} }] }`,
    'storage:',
    `  path: ${join(folder, 'cache')}`,
    `  postgres: { url: '${postgres.url}', schema: ${postgres.schema}${more(options.postgresSettings)} }`,
    `  s3: { url: '${s3.url}', accessKeyId: ${s3.accessKeyId}, secretAccessKey: ${s3.secretAccessKey}${more(options.s3Settings)} }`,
    ...(options.storage ?? []).map(line => `  ${line}`),
    'log: { level: info, format: json }',
    'verification: { workers: 1 }',
    ...(options.settings ?? []),
    '',
  ].join('\n')
}

/** Resolves when it answers; it is killed when this process ends. */
export const startInstance = async (options: InstanceOptions): Promise<Instance> => {
  const { folder, port } = options
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'attestry.yaml')
  writeFileSync(file, settingsOf(options))
  // one key for all that are told of the same registry keys
  const auditKey = join(dirname(options.keys), 'audit.key')
  await openLogKey({ path: auditKey, create: true })
  const child = spawn(process.execPath, [bin, 'serve', '--config', file], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ATTESTRY_AUDIT_LOG_KEY: auditKey },
  })
  const end = () => void child.kill('SIGKILL')
  process.once('exit', end)
  child.once('exit', () => process.off('exit', end))
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-40_000)))
  const url = `http://127.0.0.1:${port}/`
  const answers = (path: string) =>
    fetch(`${url}-/attestry/health/${path}`, { signal: AbortSignal.timeout(10_000) }).then(
      async answer => (await answer.arrayBuffer(), answer.ok),
      () => false,
    )
  const ended = () => child.exitCode !== null || child.signalCode !== null
  await eventually(async () => ended() || (await answers('live')))
  if (ended() || !(await answers('live'))) throw new Error(`it does not start: ${said}`)
  return { url, child, said: () => said, ready: () => answers('ready') }
}
