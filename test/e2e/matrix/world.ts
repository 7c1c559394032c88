/**
 * What the nine clients are sent into: a public registry, a private one (verdaccio), and two
 * Attestrys in front of both. One has the policy below; the other is as it was before the bans.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RecordedVerdict } from '../../../lib/types.ts'
import { runCli } from '../../cli/console.ts'
import { clientNames } from '../../support/clients.ts'
import { localSigstore } from '../../support/local-sigstore.ts'
import { startProxy, type Proxy } from '../../support/proxy.ts'
import { startRegistry, type TestRegistry } from '../../support/registry.ts'
import { installVerdaccio, startVerdaccio, type Verdaccio } from '../../support/verdaccio.ts'

const bans = `
  - name: a bad release
    packages: ['banned@1.1.0']
    deny: { reason: it steals tokens }
  - name: nothing of this
    packages: [outlaw]
    deny: { reason: nobody maintains it }`

const policy = (more: string) => `version: 1
identities:
  acme:
    issuer: https://token.actions.githubusercontent.com
    repository: https://github.com/acme/*
rules:${more}
  - name: acme builds what is acme's
    packages: ['@acme/*', app, widget, forged-*]
    require: { provenance: acme, registrySignature: required }
`

export type World = {
  readonly proxy: Proxy
  /** Without the bans. */
  readonly earlier: Proxy
  readonly registry: TestRegistry
  /** Has `@private/*`; or why it is not there. */
  readonly verdaccio: Verdaccio | { readonly missing: string }
  /** How often a tarball of this package was refused. */
  readonly refusals: (name: string) => number
  /** Of the published ones those that were not signed, and why; there should be none. */
  readonly unsigned: readonly string[]
  readonly close: () => Promise<void>
}

const fill = async (registry: TestRegistry): Promise<void> => {
  const provenance = true
  const dependencies = { '@acme/lib': '^1.0.0', leaf: '1.0.0' }
  const publish = (name: string, version: string, more: object = {}) =>
    registry.publish({ name, version, ...more })
  for (const version of ['1.0.0', '1.1.0']) await publish('@acme/lib', version, { provenance })
  await publish('leaf', '1.0.0')
  await publish('leaf', '1.0.1')
  await publish('app', '1.0.0', { provenance, dependencies })
  await publish('app', '1.2.0', { provenance, dependencies })
  await publish('widget', '1.0.0', { provenance })
  await publish('widget', '1.1.0')
  await publish('tagged', '1.0.0')
  await publish('tagged', '2.0.0-rc.1', { tag: 'next' })
  await publish('helper', '1.0.0')
  await publish('extra', '1.0.0')
  await publish('host', '1.0.0', {
    manifest: {
      peerDependencies: { helper: '^1.0.0' },
      optionalDependencies: { extra: '^1.0.0' },
    },
  })
  await publish('banned', '1.0.0')
  await publish('banned', '1.1.0')
  await publish('tolerant', '1.0.0', {
    manifest: { optionalDependencies: { banned: '1.1.0' } },
  })
  await publish('outlaw', '1.0.0')
  for (const name of ['npm', 'pnpm']) await publish(name, '1.0.0')
  // genuine provenance, of another package; one each, for what one client finds out the others know
  const { attestations } = await publish('app', '0.9.0', { provenance, tag: false })
  for (const client of clientNames) await publish(`forged-${client}`, '1.0.0', { attestations })
}

export const openWorld = async (): Promise<World> => {
  const [sigstore, installed] = await Promise.all([localSigstore(), installVerdaccio()])
  const registry = await startRegistry({ sigstore })
  const verdaccio =
    installed.kind === 'ready'
      ? await startVerdaccio(installed.folder)
      : { missing: installed.reason }
  const keys = await mkdtemp(join(tmpdir(), 'attestry-keys-'))
  const made = await runCli(['keys', 'create', '--folder', 'keys'], { cwd: keys })
  if (made.code !== 0) throw new Error(made.stderr)
  const unsigned: string[] = []
  const onUnsigned = (id: string, _: string, why: unknown) =>
    void unsigned.push(`${id}: ${String(why)}`)
  const refused = new Map<string, number>()
  const onVerdict = ({ decision, package: { name } }: RecordedVerdict) => {
    if (decision === 'refuse') refused.set(name, (refused.get(name) ?? 0) + 1)
  }
  const open = (more: string) =>
    startProxy({
      observer: { onVerdict, onUnsigned },
      upstream: registry.url,
      trustedRoot: sigstore.trustedRoot,
      registryKeys: sigstore.registryKeys(),
      policies: [policy(more)],
      upstreams:
        'url' in verdaccio
          ? [
              `private: { url: "${verdaccio.url}", registryKeys: none, packages: ['@private/*'], passThrough: write, clientCredentials: forward, signing: { keys: "${keys}/keys" } }`,
            ]
          : [],
    })
  const proxy = await open(bans)
  const earlier = await open('')
  await fill(registry)
  return {
    proxy,
    earlier,
    registry,
    verdaccio,
    unsigned,
    refusals: name => refused.get(name) ?? 0,
    close: async () => {
      await Promise.all([proxy.close(), earlier.close()])
      await Promise.all(['url' in verdaccio && verdaccio.close(), registry.close()])
      await sigstore.close()
      await rm(keys, { recursive: true })
    },
  }
}
