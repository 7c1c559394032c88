/**
 * The audit commands of real package managers show what Attestry refuses: somebody who installed a
 * version before it was refused learns of it, with the reason and where it is explained.
 */
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import {
  clientNames,
  installClients,
  moveRegistry,
  openProject,
  type ClientName,
} from '../support/clients.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const policy = `version: 1
rules:
  - name: a bad release
    packages: ['banned@1.1.0']
    deny: { reason: it steals tokens }
`

const commands: Readonly<Record<ClientName, readonly string[]>> = {
  npm11: ['audit'],
  npm12: ['audit'],
  pnpm10: ['audit'],
  pnpm11: ['audit'],
  pnpm12: ['audit'],
  yarn1: ['audit'],
  // it looks for deprecations as well, and breaks off at a version the registry does not show
  yarn4: ['npm', 'audit', '--all', '--recursive', '--no-deprecations'],
  bun: ['audit'],
  deno: ['audit'],
}

const clients = await installClients()
if (clients.kind === 'missing') {
  t.plan(0, clients.reason)
} else {
  const sigstore = await localSigstore()
  const registry = await startRegistry({ sigstore })
  const open = (policies: readonly string[]) =>
    startProxy({
      upstream: registry.url,
      trustedRoot: sigstore.trustedRoot,
      registryKeys: sigstore.registryKeys(),
      policies,
    })
  const [proxy, earlier] = await Promise.all([open([policy]), open([])])
  t.teardown(async () => {
    await Promise.all([proxy.close(), earlier.close()])
    await registry.close()
    await sigstore.close()
  })
  for (const version of ['1.0.0', '1.1.0']) await registry.publish({ name: 'banned', version })
  for (const name of ['leaf', 'npm', 'pnpm']) await registry.publish({ name, version: '1.0.0' })

  /** yarn 1 asks one registry whatever it is told, and it is not that of its settings. */
  const patchYarn = async (to: string, url: string): Promise<string> => {
    const from = join(clients.folder, 'node_modules', 'yarn1')
    await cp(from, to, { recursive: true })
    const source = join(to, 'lib', 'cli.js')
    const text = await readFile(source, 'utf8')
    const patched = text.replace(
      /(YARN_REGISTRY = exports\.YARN_REGISTRY = )'[^']+'/,
      (_, start: string) => `${start}${JSON.stringify(url.replace(/\/$/, ''))}`,
    )
    if (patched === text) throw new Error('yarn 1 is not as it was')
    await writeFile(source, patched)
    return join(to, 'bin', 'yarn.js')
  }

  for (const client of clientNames) {
    t.test(client, async t => {
      const project = await openProject(clients, client, earlier.url, {
        banned: '1.1.0',
        leaf: '1.0.0',
      })
      t.teardown(() => project.remove())
      const installed = await project.install()
      t.equal(installed.code, 0, installed.output)
      await moveRegistry(project, earlier.url, proxy.url)
      const yarn = client === 'yarn1' ? await patchYarn(t.testdir(), proxy.url) : undefined
      const audit = () =>
        yarn === undefined
          ? project.run(commands[client])
          : project.runScript(yarn, commands[client])
      const run = await audit()
      t.not(run.code, 0, 'it counts as a vulnerability')
      t.match(run.output, /DENIED: it steals tokens/)
      // yarn 1 makes an address of its own from the number
      if (client !== 'yarn1') t.match(run.output, `${proxy.url}-/attestry/why/banned@1.1.0`)
      t.match(run.output, /high/i)
      t.notMatch(run.output, /leaf/)

      await project.setDependencies({ banned: '1.0.0', leaf: '1.0.0' })
      const again = await project.install()
      t.equal(again.code, 0, again.output)
      const clean = await audit()
      t.equal(clean.code, 0, clean.output)
    })
  }
}
