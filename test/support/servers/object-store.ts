/** An S3 server of our own on loopback: Ceph's RADOS gateway; `undefined` where it is not installed. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AwsClient } from 'aws4fetch'
import { freePort } from './free-port.ts'

export type ObjectStore = {
  /** The bucket's address. */
  readonly url: string
  readonly port: number
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** `radosgw-admin` with these arguments; what it says. */
  admin(...args: string[]): string
  close(): Promise<void>
}

const programs = ['ceph-mon', 'ceph-osd', 'radosgw', 'radosgw-admin', 'ceph', 'monmaptool']

export const hasCeph = (): boolean =>
  programs.every(program => existsSync(join('/usr/bin', program)))

export const startObjectStore = async (): Promise<ObjectStore | undefined> => {
  if (!hasCeph()) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'attestry-ceph-'))
  const [port, monitor] = [await freePort(), await freePort()]
  const end = () => {
    if (!existsSync(folder)) return
    for (const file of readdirSync(folder).filter(name => name.endsWith('.pid'))) {
      try {
        process.kill(Number(readFileSync(join(folder, file), 'utf8')), 'SIGKILL')
      } catch {
        // it has ended by itself
      }
    }
    rmSync(folder, { recursive: true, force: true })
  }
  // a test that fails as a whole leaves nothing running
  process.once('exit', end)
  const close = async () => end()
  const script = spawn(
    join(import.meta.dirname, 'ceph.sh'),
    [folder, String(port), String(monitor)],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let said = ''
  script.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
  const [code] = (await once(script, 'exit')) as [number]
  if (code !== 0) {
    await close()
    throw new Error(`Ceph does not start: ${said}`)
  }
  const keys = { accessKeyId: 'test-key', secretAccessKey: 'test-secret' }
  const url = `http://127.0.0.1:${port}/attestry`
  const client = new AwsClient({ ...keys, service: 's3', region: 'us-east-1' })
  const made = await client.fetch(url, { method: 'PUT' })
  if (!made.ok) throw new Error(`The bucket cannot be made: ${made.status}`)
  await made.arrayBuffer()
  const admin = (...args: string[]): string => {
    const all = ['-c', join(folder, 'ceph.conf'), ...args]
    const { status, stdout, stderr } = spawnSync('radosgw-admin', all, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`radosgw-admin ${args.join(' ')}: ${stderr}`)
    return stdout
  }
  return { url, port, ...keys, admin, close }
}
