/** A whole Attestry on loopback for tests: settings from real files, a store of its own. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openAttestry, type Attestry, type Observer } from '../../lib/attestry.ts'
import { loadSettings } from '../../lib/config/settings.ts'

export type ProxyOptions = {
  /** The upstream registry's URL. */
  readonly upstream: string
  /** trusted_root.json and keys.json as documents, or paths of files. */
  readonly trustedRoot: object | string
  /** `none` for no keys. */
  readonly registryKeys: object | string
  /** Texts of policy files; none is the baseline. */
  readonly policies?: readonly string[]
  /** Lines to add to attestry.yaml; keys other than upstreams, trust, policies, storage, listen. */
  readonly settings?: string
  /** Lines to add below the upstream. */
  readonly upstreamSettings?: readonly string[]
  /** Lines to add below trust. */
  readonly trustSettings?: readonly string[]
  /** Lines to add below storage. */
  readonly storageSettings?: readonly string[]
  /** Further upstreams, as lines of YAML: `acme: { url: … }`. `%keys%` stands for the keys of the first. */
  readonly upstreams?: readonly string[]
  /** A store to go on with; else one that goes with the proxy. */
  readonly storage?: string
  readonly now?: () => Date
  readonly observer?: Observer
}

export type Proxy = Attestry & { readonly folder: string }

const quote = (text: string) => JSON.stringify(text)

/** Writes the files that `options` describe into `folder` and returns the settings file. */
export const writeSettings = async (folder: string, options: ProxyOptions): Promise<string> => {
  const document = async (name: string, value: object | string) => {
    if (typeof value === 'string') return value
    const file = join(folder, name)
    await writeFile(file, JSON.stringify(value))
    return file
  }
  const { registryKeys, policies = [] } = options
  const keys =
    registryKeys === 'none'
      ? 'none'
      : `{ file: ${quote(await document('keys.json', registryKeys))} }`
  const root = await document('trusted_root.json', options.trustedRoot)
  const files = policies.map((_, i) => join(folder, `policy-${i}.yaml`))
  await Promise.all(policies.map((text, i) => writeFile(files[i] ?? '', text)))
  const file = join(folder, 'attestry.yaml')
  await writeFile(
    file,
    [
      'listen: 127.0.0.1:0',
      'upstreams:',
      '  npm:',
      `    url: ${quote(options.upstream)}`,
      `    registryKeys: ${keys}`,
      ...(options.upstreamSettings ?? []).map(line => `    ${line}`),
      ...(options.upstreams ?? []).map(line => `  ${line.replace('%keys%', keys)}`),
      'trust:',
      `  roots: [{ file: ${quote(root)} }]`,
      ...(options.trustSettings ?? []).map(line => `  ${line}`),
      `policies: [${files.map(quote).join(', ')}]`,
      'storage:',
      `  path: ${quote(options.storage ?? join(folder, 'store'))}`,
      ...(options.storageSettings ?? []).map(line => `  ${line}`),
      'log: { level: silent }',
      options.settings ?? '',
      '',
    ].join('\n'),
  )
  return file
}

export const startProxy = async (options: ProxyOptions): Promise<Proxy> => {
  const folder = await mkdtemp(join(tmpdir(), 'attestry-test-'))
  await mkdir(folder, { recursive: true })
  const file = await writeSettings(folder, options)
  const settings = await loadSettings({ file, env: {}, cwd: folder })
  const remove = () => rm(folder, { recursive: true, force: true })
  const attestry = await openAttestry({
    settings,
    ...(options.now && { now: options.now }),
    ...(options.observer && { observer: options.observer }),
  }).catch(async (error: unknown) => {
    await remove()
    throw error
  })
  return {
    ...attestry,
    folder,
    close: async () => {
      await attestry.close()
      await remove()
    },
  }
}
