/** Projects to learn from, and proxies that serve with what was learned. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { startProxy, writeSettings, type ProxyOptions } from '../support/proxy.ts'
import { runCli } from './console.ts'

export type Locked = {
  readonly name: string
  readonly version: string
  readonly integrity: string
}

export const lockfile = (packages: readonly Locked[]): string => {
  const entries = packages.map(({ name, version, integrity }, i) => [
    `node_modules/${i === 0 ? '' : `x${i}/node_modules/`}${name}`,
    { version, integrity },
  ])
  const root = { name: 'project', version: '1.0.0' }
  return JSON.stringify({
    ...root,
    lockfileVersion: 3,
    packages: { '': root, ...Object.fromEntries(entries) },
  })
}

/** A project with its lockfile and settings; the policies configured lie in policy-0.yaml and so on. */
export const projectsOver =
  (base: ProxyOptions, locked: readonly Locked[]) =>
  async (
    t: Test,
    {
      packages = locked,
      ...options
    }: Partial<ProxyOptions> & { packages?: readonly Locked[] } = {},
  ) => {
    const folder = await mkdtemp(join(tmpdir(), 'attestry-learn-'))
    t.teardown(() => rm(folder, { recursive: true, force: true }))
    await writeSettings(folder, { ...base, ...options })
    await writeFile(join(folder, 'package-lock.json'), lockfile(packages))
    return {
      folder,
      learn: (args: readonly string[] = [], columns?: number) =>
        runCli(['learn', ...args], { cwd: folder, ...(columns && { columns }) }),
      read: (name = 'attestry.policy.yaml') => readFile(join(folder, name), 'utf8'),
      write: (text: string, name = 'attestry.policy.yaml') =>
        writeFile(join(folder, name), text),
    }
  }

/** The status of each tarball, served by a proxy with that policy and nothing in its store. */
export const servedOver =
  (base: ProxyOptions) =>
  async (t: Test, policy: string, packages: readonly Pick<Locked, 'name' | 'version'>[]) => {
    const proxy = await startProxy({ ...base, policies: [policy] })
    t.teardown(() => proxy.close())
    const statuses: Record<string, number> = {}
    for (const { name, version } of packages) {
      const file = `${name}/-/${name.split('/').at(-1)}-${version}.tgz`
      const response = await fetch(new URL(file, proxy.url))
      await response.arrayBuffer()
      statuses[`${name}@${version}`] = response.status
    }
    return statuses
  }
