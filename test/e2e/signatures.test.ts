/**
 * Clients that verify for themselves can do so through Attestry: keys, signatures and attestations
 * reach them whole.
 */
import { join } from 'node:path'
import t from 'tap'
import { startFront } from '../http/front.ts'
import { installClients, openProject } from '../support/clients.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { trustingNpm } from '../support/trusting-npm.ts'

const clients = await installClients()
if (clients.kind === 'missing') {
  t.plan(0, clients.reason)
} else {
  const sigstore = await localSigstore()
  const registry = await startRegistry({ sigstore })
  const trust = { trustedRoot: sigstore.trustedRoot, registryKeys: sigstore.registryKeys() }
  const proxy = await startProxy({ upstream: registry.url, ...trust })
  const blind = await startProxy({ upstream: registry.url, ...trust, registryKeys: 'none' })
  let behind = 0
  const front = await startFront({ to: () => behind, only: '/some/npm/' })
  const prefixed = await startProxy({
    upstream: registry.url,
    ...trust,
    settings: `publicUrl: http://127.0.0.1:${front.port}/some/npm/`,
  })
  behind = prefixed.port
  t.teardown(async () => {
    await front.close()
    await Promise.all([proxy.close(), prefixed.close(), blind.close()])
    await Promise.all([registry.close(), sigstore.close()])
  })
  await registry.publish({ name: 'leaf', version: '1.0.0' })
  await registry.publish({ name: '@acme/built', version: '1.0.0', provenance: true })
  for (const name of ['npm', 'pnpm']) await registry.publish({ name, version: '1.0.0' })
  const { integrity } = await registry.publish({ name: 'other', version: '1.0.0' })
  await registry.publish({
    name: 'odd',
    version: '1.0.0',
    signed: [sigstore.signRegistry('odd', '1.0.0', integrity)],
  })
  const dependencies = { leaf: '1.0.0', '@acme/built': '1.0.0' }

  const tuf = await sigstore.tuf()

  for (const client of ['npm11', 'npm12'] as const) {
    t.test(`${client} audit signatures`, async t => {
      const installed = join(clients.folder, 'node_modules', client)
      const program = await trustingNpm(installed, join(t.testdir(), client), tuf)
      for (const url of [proxy.url, prefixed.url]) {
        const project = await openProject(clients, client, url, dependencies)
        t.teardown(() => project.remove())
        t.equal((await project.install()).code, 0)
        const run = await project.runScript(program, ['audit', 'signatures'])
        t.equal(run.code, 0, run.output)
        t.match(run.output, /2 packages have verified registry signatures/)
        t.match(run.output, /1 package has a verified attestation/)
      }
      // what Attestry was told not to look at, npm finds
      const project = await openProject(clients, client, blind.url, { odd: '1.0.0' })
      t.teardown(() => project.remove())
      t.equal((await project.install()).code, 0)
      const run = await project.runScript(program, ['audit', 'signatures'])
      t.not(run.code, 0)
      t.match(run.output, /1 package has an invalid registry signature/)
    })
  }

  for (const client of ['pnpm11', 'pnpm12'] as const) {
    t.test(`${client} audit signatures`, async t => {
      const project = await openProject(clients, client, proxy.url, dependencies)
      t.teardown(() => project.remove())
      t.equal((await project.install()).code, 0)
      const run = await project.run(['audit', 'signatures'])
      t.equal(run.code, 0, run.output)
      t.match(run.output, /2 packages have verified registry signatures/)
    })
  }
}
