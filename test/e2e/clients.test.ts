/**
 * Real package managers install through a running Attestry. What each of them shows of a refusal
 * differs; the patterns say what its users get to see at least.
 */
import t from 'tap'
import type { RequestRecord } from '../../lib/http/app.ts'
import {
  clientNames,
  installClients,
  moveRegistry,
  openProject,
  type ClientName,
  type Project,
} from '../support/clients.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const policy = (more: string) => `version: 1
identities:
  acme:
    issuer: https://token.actions.githubusercontent.com
    repository: https://github.com/acme/*
rules:
${more}
  - name: acme builds what is acme's
    packages: ['@acme/*', app, dropped, forged-*]
    require: { provenance: acme, registrySignature: required }
`

const ban = `  - name: a bad release
    packages: ['banned@1.1.0']
    deny: { reason: it steals tokens }`

type Shown = {
  /** A pinned version that the packument hides. */
  readonly hidden: RegExp
  /** A version that is refused when its tarball is asked for. */
  readonly tarball: RegExp
  /** A lockfile that holds a version refused since. */
  readonly locked: RegExp
}

const shown: Readonly<Record<ClientName, Shown>> = {
  npm11: { hidden: /NO_PROVENANCE/, tarball: /WRONG_SUBJECT/, locked: /DENIED/ },
  npm12: { hidden: /NO_PROVENANCE/, tarball: /WRONG_SUBJECT/, locked: /DENIED/ },
  pnpm10: {
    hidden: /ERR_PNPM_NO_MATCHING_VERSION[^]*REFUSED NO_PROVENANCE/,
    tarball: /ERR_PNPM_FETCH_403[^]*Refused by policy/,
    locked: /ERR_PNPM_FETCH_403[^]*Refused by policy/,
  },
  pnpm11: {
    hidden: /ERR_PNPM_NO_MATCHING_VERSION[^]*REFUSED NO_PROVENANCE/,
    tarball: /ERR_PNPM_FETCH_403[^]*Refused by policy/,
    locked: /ERR_PNPM_(MINIMUM_RELEASE_AGE_VIOLATION|FETCH_403)/,
  },
  pnpm12: {
    hidden: /ERR_PNPM_NO_MATCHING_VERSION[^]*REFUSED NO_PROVENANCE/,
    tarball: /ERR_PNPM_TARBALL_[A-Z_]+[^]*403/,
    locked: /ERR_PNPM_(MINIMUM_RELEASE_AGE_VIOLATION|TARBALL_[A-Z_]+)/,
  },
  yarn1: {
    hidden: /Couldn't find any versions for "dropped" that matches "1\.1\.0"/,
    tarball: /403/,
    locked: /403/,
  },
  yarn4: {
    hidden: /YN0082/,
    tarball: /YN0035[^]*Refused by policy/,
    locked: /YN0035[^]*Refused by policy/,
  },
  bun: { hidden: /No version matching "1\.1\.0"/, tarball: /403/, locked: /403/ },
  deno: {
    hidden: /Could not find npm package 'dropped' matching '1\.1\.0'/,
    tarball: /WRONG_SUBJECT/,
    locked: /DENIED/,
  },
}

const clients = await installClients()
if (clients.kind === 'missing') {
  t.plan(0, clients.reason)
} else {
  const sigstore = await localSigstore()
  const registry = await startRegistry({ sigstore })
  /** What was refused of which tarball; a client that asks again and again makes its user wait. */
  let refusals = 0
  const observer = {
    onRequest: ({ route, status }: RequestRecord) => {
      if (route === 'tarball' && status === 403) refusals++
    },
  }
  const open = (more: string) =>
    startProxy({
      observer,
      upstream: registry.url,
      trustedRoot: sigstore.trustedRoot,
      registryKeys: sigstore.registryKeys(),
      policies: [policy(more)],
    })
  const proxy = await open(ban)
  /** As it was before the ban. */
  const earlier = await open('')
  t.teardown(async () => {
    await Promise.all([proxy.close(), earlier.close()])
    await registry.close()
    await sigstore.close()
  })

  const provenance = true
  const dependencies = { '@acme/widget': '^1.0.0', leaf: '1.0.0' }
  await registry.publish({ name: '@acme/widget', version: '1.0.0', provenance })
  await registry.publish({ name: '@acme/widget', version: '1.1.0', provenance })
  await registry.publish({ name: 'leaf', version: '1.0.0' })
  await registry.publish({ name: 'app', version: '1.0.0', provenance, dependencies })
  await registry.publish({ name: 'dropped', version: '1.0.0', provenance })
  await registry.publish({ name: 'dropped', version: '1.1.0' })
  await registry.publish({ name: 'banned', version: '1.0.0' })
  await registry.publish({ name: 'banned', version: '1.1.0' })
  for (const name of ['npm', 'pnpm']) await registry.publish({ name, version: '1.0.0' })
  // genuine provenance, of another package
  const { attestations } = await registry.publish({
    name: 'app',
    version: '0.9.0',
    provenance,
    tag: false,
  })
  for (const client of clientNames) {
    await registry.publish({ name: `forged-${client}`, version: '1.0.0', attestations })
  }

  for (const client of clientNames) {
    t.test(client, async t => {
      const project = async (
        wanted: Readonly<Record<string, string>>,
        url = proxy.url,
      ): Promise<Project> => {
        const made = await openProject(clients, client, url, wanted)
        t.teardown(() => made.remove())
        return made
      }

      t.test('an honest tree with a scoped package', async t => {
        const tree = await project({ app: '1.0.0' })
        const whole = ['@acme/widget@1.1.0', 'app@1.0.0', 'leaf@1.0.0']
        const fresh = await tree.install()
        t.equal(fresh.code, 0, fresh.output)
        t.same(await tree.installed(), whole)
        const again = await tree.installFrozen()
        t.equal(again.code, 0, again.output)
        t.same(await tree.installed(), whole)
      })

      t.test('a range whose newest is refused gets the older one', async t => {
        const ranged = await project({ dropped: '^1.0.0' })
        const run = await ranged.install()
        t.equal(run.code, 0, run.output)
        t.same(await ranged.installed(), ['dropped@1.0.0'])
      })

      t.test('a pinned version that is refused', async t => {
        const pinned = await project({ dropped: '1.1.0' })
        const run = await pinned.install()
        t.not(run.code, 0)
        t.match(run.output, shown[client].hidden)
        t.same(await pinned.installed(), [])
      })

      t.test('a version that turns out forged when it is asked for', async t => {
        const forged = await project({ [`forged-${client}`]: '1.0.0' })
        refusals = 0
        const run = await forged.install()
        t.not(run.code, 0)
        // deno asks four times, quickly
        t.ok(
          refusals >= 1 && refusals <= (client === 'deno' ? 4 : 1),
          `asked ${refusals} times`,
        )
        t.match(run.output, shown[client].tarball)
        t.same(await forged.installed(), [])
      })

      t.test('a frozen lockfile that holds a version refused since', async t => {
        const locked = await project({ banned: '1.1.0' }, earlier.url)
        const before = await locked.install()
        t.equal(before.code, 0, before.output)
        t.same(await locked.installed(), ['banned@1.1.0'])
        await moveRegistry(locked, earlier.url, proxy.url)
        const run = await locked.installFrozen()
        t.not(run.code, 0)
        t.match(run.output, shown[client].locked)
        t.same(await locked.installed(), [])
      })
    })
  }

  t.test('nobody went round Attestry', async t => {
    t.ok(registry.requests.length > 0)
    const strangers = registry.requests.filter(({ headers }) => !headers['attestry-via'])
    t.same(
      strangers.map(({ rawPath, headers }) => [rawPath, headers['user-agent']]),
      [],
    )
  })
}
