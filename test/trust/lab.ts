/** A TUF repository, a folder that trust is kept in, and rooms opened over them. */
import { join } from 'node:path'
import type { Test } from 'tap'
import { AttestryError } from '../../lib/errors.ts'
import { openTrust, type TrustChange } from '../../lib/trust/open-trust.ts'
import type { KeysSource, RootSource } from '../../lib/trust/source.ts'
import { npmRegistry } from '../../lib/upstream/default-registry.ts'
import { openTufRepository, type PublishOptions } from '../support/tuf-repository.ts'

export const target = (text: string) => ({ 'trusted_root.json': text })
export const day = 86_400_000
export const inDays = (days: number) =>
  new Date(Date.now() + days * day).toISOString().replace(/\.\d+/, '')

type Opened = Parameters<typeof openTrust>[0]

export const openLab = async (t: Test, first: PublishOptions) => {
  const repository = await openTufRepository(first)
  t.teardown(() => repository.close())
  const folder = t.testdir({ 'root.json': repository.root })
  const kept = join(folder, 'kept')
  const source: RootSource = {
    kind: 'tuf',
    mirror: repository.mirror,
    root: join(folder, 'root.json'),
  }
  const changes: TrustChange[] = []
  const told: string[] = []
  const open = (
    roots: readonly RootSource[] = [source],
    {
      registryKeys = { kind: 'none' },
      registries = [npmRegistry],
      ...terms
    }: Partial<Opened['terms']> & {
      registryKeys?: KeysSource
      registries?: readonly string[]
    } = {},
  ) =>
    openTrust({
      upstreams: [{ name: 'npm', roots, registryKeys, registries }],
      terms: {
        folder: kept,
        network: true,
        userAgent: 'test',
        timeout: 1_000,
        deadline: 2_500,
        now: () => new Date(),
        ...terms,
      },
      observer: {
        onTrust: change => changes.push(change),
        onRefresh: (name, outcome, message) =>
          told.push(`${name} ${outcome}${message === undefined ? '' : `: ${message}`}`),
      },
    })
  const refused = async (...args: Parameters<typeof open>): Promise<string> => {
    try {
      await open(...args)
    } catch (error) {
      t.ok(error instanceof AttestryError && error.code === 'ETRUST', String(error))
      return String(error)
    }
    t.fail('it was taken')
    return ''
  }
  return { repository, folder, kept, source, open, refused, changes, told }
}

export type Room = Awaited<ReturnType<typeof openTrust>>
export const inForce = (room: Room) => JSON.stringify(room.materialOf('npm').roots[0])
export const failureOf = (room: Room) => room.status().sources[0]?.failure
