/** One project locked by five real package managers: whoever wrote the lockfile, the verdicts are the same. */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { runCli } from '../cli/console.ts'
import { installClients, openProject } from '../support/clients.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { writeSettings } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const policy = `version: 1
rules:
  - name: not that one
    packages: [banned]
    deny: { reason: it steals tokens }
  - name: of acme only
    packages: ['@acme/*']
    require: { provenance: { issuer: 'https://token.actions.githubusercontent.com', repository: 'https://github.com/acme/*' } }
`

const lockfiles = {
  npm12: 'package-lock.json',
  pnpm12: 'pnpm-lock.yaml',
  yarn1: 'yarn.lock',
  yarn4: 'yarn.lock',
  bun: 'bun.lock',
} as const

type Judged = {
  name: string
  version: string
  outcome: string
  reasons: { code: string }[]
  facts: object
  publisher?: object
}

const clients = await installClients()
if (clients.kind === 'missing') {
  t.plan(0, clients.reason)
} else {
  const sigstore = await localSigstore()
  const registry = await startRegistry({ sigstore })
  const folder = await mkdtemp(join(tmpdir(), 'attestry-audit-'))
  t.teardown(async () => {
    await registry.close()
    await sigstore.close()
    await rm(folder, { recursive: true, force: true })
  })

  const acme = { repository: 'acme/widget' }
  const dependencies = { '@acme/widget': '^1.0.0', leaf: '1.0.0', dropped: '^1.0.0' }
  await registry.publish({ name: '@acme/widget', version: '1.0.0', provenance: acme })
  await registry.publish({ name: '@acme/widget', version: '1.1.0', provenance: acme })
  await registry.publish({
    name: '@acme/stranger',
    version: '1.0.0',
    provenance: { repository: 'mallory/widget' },
  })
  await registry.publish({ name: 'leaf', version: '1.0.0' })
  await registry.publish({ name: 'leaf', version: '2.0.0', signed: false })
  await registry.publish({ name: 'dropped', version: '1.0.0', provenance: true })
  await registry.publish({ name: 'dropped', version: '1.0.1' })
  await registry.publish({ name: 'app', version: '1.0.0', provenance: true, dependencies })
  await registry.publish({ name: 'banned', version: '1.1.0' })
  const genuine = await registry.publish({ name: 'other', version: '1.0.0', provenance: true })
  const { attestations } = genuine
  await registry.publish({ name: 'forged', version: '1.0.0', attestations })
  for (const name of ['npm', 'pnpm']) await registry.publish({ name, version: '1.0.0' })
  const wanted = {
    app: '1.0.0',
    leaf: '^2.0.0',
    renamed: 'npm:leaf@1.0.0',
    '@acme/stranger': '1.0.0',
    banned: '1.1.0',
    forged: '1.0.0',
  }
  const expected = {
    '@acme/stranger@1.0.0': ['refused', 'IDENTITY_MISMATCH'],
    '@acme/widget@1.1.0': ['allowed'],
    'app@1.0.0': ['allowed'],
    'banned@1.1.0': ['refused', 'DENIED'],
    'dropped@1.0.1': ['refused', 'DOWNGRADED'],
    'forged@1.0.0': ['refused', 'WRONG_SUBJECT'],
    'leaf@1.0.0': ['allowed'],
    'leaf@2.0.0': ['allowed'],
  }
  const config = await writeSettings(folder, {
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    policies: [policy],
  })

  const facts = new Map<string, unknown>()
  for (const client of ['npm12', 'pnpm12', 'yarn1', 'yarn4', 'bun'] as const) {
    t.test(client, async t => {
      const project = await openProject(clients, client, registry.url, wanted)
      t.teardown(() => project.remove())
      const installed = await project.install()
      const { cwd } = project
      t.ok(existsSync(join(cwd, lockfiles[client])), installed.output)
      const said = await runCli(
        ['audit', '--json', '--config', config, '--registry', registry.url],
        { cwd },
      )
      t.equal(said.code, 1, said.stderr)
      const { packages, pastProxy } = JSON.parse(said.stdout) as {
        packages: Judged[]
        pastProxy: unknown[]
      }
      const found = packages.map(({ name, version, outcome, reasons }) => [
        `${name}@${version}`,
        [outcome, ...new Set(reasons.map(({ code }) => code))],
      ])
      t.same(Object.fromEntries(found), expected)
      t.same(pastProxy, [])
      facts.set(
        client,
        packages.map(({ name, version, facts, publisher }) => ({
          name,
          version,
          facts,
          publisher,
        })),
      )
      t.same(facts.get(client), facts.get('npm12'), 'the same evidence and publishers')
    })
  }
}
