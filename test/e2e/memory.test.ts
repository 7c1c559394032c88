/** The proxy in a process of its own, its peak of memory read from the kernel (Linux). */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { localSigstore } from '../support/local-sigstore.ts'
import { writeSettings } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const MiB = 1024 * 1024
const LIMIT = 500 * MiB
const skip = existsSync('/proc/self/status') ? false : 'peak memory is read from /proc'

const drain = async (url: string, accept = '*/*'): Promise<number> => {
  const response = await fetch(url, { headers: { accept } })
  t.equal(response.status, 200, url)
  let size = 0
  for await (const chunk of response.body ?? []) size += chunk.length
  return size
}

t.test('ten at once of a 30 MB packument and a 100 MB tarball', { skip }, async t => {
  const sigstore = await localSigstore()
  const registry = await startRegistry({ sigstore })
  t.teardown(async () => {
    await registry.close()
    await sigstore.close()
  })
  await registry.publish({ name: 'large', version: '1.0.0', size: 100 * MiB })
  registry.grow('large', 30 * MiB)
  const folder = t.testdir()
  const file = await writeSettings(folder, {
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
  })
  const bin = fileURLToPath(new URL('../../bin/attestry.ts', import.meta.url))
  const child = spawn(
    process.execPath,
    [bin, 'serve', '--config', file, '--log-level', 'info'],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  t.teardown(async () => {
    if (child.exitCode !== null) return
    child.kill()
    await once(child, 'exit')
  })
  let log = ''
  let url: string | undefined
  for await (const chunk of child.stderr as AsyncIterable<Buffer>) {
    log += chunk.toString()
    url = /"url":"([^"]+)"/.exec(log)?.[1]
    if (url) break
  }
  child.stderr.resume()
  const base = url ?? ''
  const ten = (work: () => Promise<number>) => Promise.all(Array.from({ length: 10 }, work))
  const peak = async () =>
    Number(/VmHWM:\s+(\d+) kB/.exec(await readFile(`/proc/${child.pid}/status`, 'utf8'))?.[1]) *
    1024
  const idle = await peak()
  const packuments = await ten(() => drain(`${base}large`))
  t.ok(packuments.every(size => size === packuments[0] && size > 25 * MiB))
  const afterPackument = await peak()
  const tarballs = await ten(() => drain(`${base}large/-/large-1.0.0.tgz`))
  t.ok(tarballs.every(size => size === tarballs[0] && size > 100 * MiB))
  const afterTarball = await peak()
  await ten(() => drain(`${base}large`, 'application/vnd.npm.install-v1+json'))
  const last = await peak()
  const shown = [idle, afterPackument, afterTarball, last].map(size => Math.round(size / MiB))
  t.comment(`peak RSS in MiB: idle, packuments, tarballs, abbreviated: ${shown.join(', ')}`)
  t.ok(last < LIMIT, `${shown.at(-1)} MiB`)
})
