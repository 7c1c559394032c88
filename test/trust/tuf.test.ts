/** TUF repositories as sources of trust: what is taken, what is refused, what stays when it is. */
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { followTrust } from '../../lib/trust/follow-trust.ts'
import type { RootSource } from '../../lib/trust/source.ts'
import { shippedRepository } from '../../lib/trust/shipped.ts'
import { npmRegistry } from '../../lib/upstream/default-registry.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { openTufRepository, type PublishOptions } from '../support/tuf-repository.ts'
import { day, failureOf, inDays, inForce, openLab, target } from './lab.ts'

const sigstore = await localSigstore()
const stranger = await localSigstore()
t.teardown(async () => {
  await sigstore.close()
  await stranger.close()
})
const rootA = JSON.stringify(sigstore.trustedRoot)
const rootB = JSON.stringify(stranger.trustedRoot)

const lab = (t: Test, first: PublishOptions = {}) =>
  openLab(t, { targets: target(rootA), ...first })

t.test('a mirror with its own root', async t => {
  const { repository, kept, open, changes } = await lab(t)
  const room = await open()
  t.equal(inForce(room), rootA)
  t.match(room.status().sources, [
    {
      kind: 'tuf',
      origin: 'kept',
      checkedAt: /^\d{4}-/,
      metadata: { root: { version: 1 }, timestamp: { version: 1 }, targets: { version: 1 } },
      failure: undefined,
    },
  ])
  t.strictSame(room.status().warnings, [])
  t.equal(readdirSync(kept).length, 1, 'one file, and no leftovers')

  repository.publish({ targets: target(rootB) })
  await room.renew()
  t.equal(inForce(room), rootB)
  t.equal(changes.length, 1)
  t.equal(changes[0]?.material.digest, room.materialOf('npm').digest)
  await room.renew()
  t.equal(changes.length, 1, 'nothing new, nothing told')

  const old = join(kept, 'work-killed')
  mkdirSync(old)
  mkdirSync(join(kept, 'work-other'))
  utimesSync(old, 0, 0)
  await room.renew()
  t.strictSame(
    readdirSync(kept).filter(name => name.startsWith('work')),
    ['work-other'],
    'what others left behind is cleared, what they are at is not',
  )
  repository.faults.down = true
  const requests = repository.requests.length
  const again = await open()
  t.equal(inForce(again), rootB, 'a restart has what was fetched')
  t.equal(repository.requests.length, requests, 'and asks nobody for it')
})

t.test('roots and keys are rotated', async t => {
  const { repository, open } = await lab(t)
  const room = await open()
  repository.publish({ rotate: ['root'] })
  repository.publish({ rotate: ['timestamp', 'snapshot', 'targets'], targets: target(rootB) })
  await room.renew()
  t.equal(failureOf(room), undefined)
  t.equal(inForce(room), rootB)
  t.match(room.status().sources[0]?.metadata, { root: { version: 3 } })

  t.test('a root that was verified stays, whatever comes after it', async t => {
    repository.publish({ rotate: ['root'], expires: { timestamp: inDays(-1) } })
    await room.renew()
    t.match(failureOf(room), { message: /timestamp\.json is expired/ })
    t.match(room.status().sources[0]?.metadata, { root: { version: 4 } })
    t.match((await open()).status().sources[0]?.metadata, { root: { version: 4 } })
    repository.publish()
    await room.renew()
    t.equal(failureOf(room), undefined)
  })
  t.test('one signature of two is not enough', async t => {
    repository.publish({ rotate: ['root'], underSigned: true, targets: target(rootA) })
    await room.renew()
    t.match(failureOf(room), { refused: true, message: /\broot\b/ })
    t.equal(inForce(room), rootB)
    t.match(room.status().sources[0]?.metadata, { root: { version: 4 } })
  })
  t.test('a repository of other keys is not it', async t => {
    const other = await openTufRepository({ targets: target(rootA) })
    t.teardown(() => other.close())
    const { source, refused, folder } = await lab(t)
    const wrong = { ...source, mirror: other.mirror } as RootSource
    t.match(await refused([wrong]), /TUF mirror/)
    writeFileSync(join(folder, 'root.json'), '{}')
    t.match(await refused(), /root\.json: it is not root metadata/)
  })
})

t.test(
  'what is older, frozen or not what was signed is refused, and what was in force stays',
  async t => {
    const cases: Readonly<
      Record<string, (lab: Awaited<ReturnType<typeof openTufRepository>>) => RegExp>
    > = {
      'a timestamp that went back': repository => {
        repository.publish({ versions: { timestamp: 1 }, targets: target(rootA) })
        return /timestamp version 1 is less than current version 2/
      },
      'a snapshot that went back': repository => {
        repository.publish({ versions: { snapshot: 1, targets: 3 }, targets: target(rootA) })
        return /snapshot version 1 is less than current version 2/
      },
      'targets that went back': repository => {
        repository.publish({ versions: { targets: 1 }, targets: target(rootA) })
        return /1 of targets\.json is less than current version 2/
      },
      'a timestamp that has expired (freeze)': repository => {
        repository.publish({ expires: { timestamp: inDays(-1) }, targets: target(rootA) })
        return /timestamp\.json is expired/
      },
      'a snapshot that has expired': repository => {
        repository.publish({ expires: { snapshot: inDays(-1) }, targets: target(rootA) })
        return /snapshot\.json is expired/
      },
      'targets that have expired': repository => {
        repository.publish({ expires: { targets: inDays(-1) }, targets: target(rootA) })
        return /targets\.json is expired/
      },
      'a root that has expired': repository => {
        repository.publish({ expires: { root: inDays(-1) }, targets: target(rootA) })
        return /root\.json is expired/
      },
      'a target of another content': repository => {
        repository.publish({ targets: target(`${rootA} `) })
        for (const name of repository.files.keys())
          if (name.startsWith('targets/')) repository.files.set(name, Buffer.from(rootA))
        return /hash|length/i
      },
      'a target that is missing': repository => {
        repository.publish({ targets: { 'other.json': rootA } })
        return /no target trusted_root\.json/
      },
      'a target that is no trusted root': repository => {
        repository.publish({ targets: target('{}') })
        return /mediaType is undefined/
      },
      'a target that says it is huge': repository => {
        repository.publish({ targets: target(' '.repeat(1_100_000)) })
        return /1100000 bytes; wanted at most/
      },
      'metadata of another content': repository => {
        repository.publish()
        const snapshot = repository.files.get('2.snapshot.json') ?? Buffer.of()
        repository.files.set('3.snapshot.json', snapshot)
        return /snapshot/
      },
      'metadata that is no JSON': repository => {
        repository.files.set('timestamp.json', Buffer.from('<html>'))
        return /JSON/
      },
      'metadata longer than any is': repository => {
        repository.faults.oversized = { path: /^timestamp/, bytes: 20_000 }
        return /timestamp\.json: it has more than 16384 bytes/
      },
      'a target longer than it says': repository => {
        repository.publish({ targets: target(`${rootA} `) })
        repository.faults.oversized = { path: /^targets/, bytes: 2_000_000 }
        return /it has more than \d+ bytes/
      },
    }
    for (const [title, spoil] of Object.entries(cases))
      await t.test(title, async t => {
        const { repository, open, changes, told } = await lab(t)
        const room = await open()
        repository.publish({ targets: target(rootB) })
        await room.renew()
        t.equal(inForce(room), rootB)
        const before = room.status()
        const said = spoil(repository)
        await room.renew()
        t.match(failureOf(room), { refused: true, message: said, since: /^\d{4}-/ })
        t.equal(inForce(room), rootB)
        t.equal(changes.length, 1)
        t.match(told.at(-1), / failed: /)
        t.match(room.status().warnings, [
          { kind: 'refused', message: /could not be renewed since/ },
        ])
        t.equal(room.status().sources[0]?.checkedAt, before.sources[0]?.checkedAt)
        t.equal(inForce(await open()), rootB, 'and after a restart')
      })
  },
)

t.test('a mirror that does not answer', async t => {
  const { repository, kept, open, refused } = await lab(t)
  const room = await open()
  const { faults } = repository
  const failsWith = async (message: RegExp) => {
    const started = performance.now()
    await room.renew()
    t.match(failureOf(room), { refused: false, message })
    t.equal(inForce(room), rootA)
    return performance.now() - started
  }
  faults.down = true
  await failsWith(/timestamp|root/)
  const since = failureOf(room)?.since
  faults.down = false
  faults.status = 503
  await failsWith(/answered 503/)
  t.equal(failureOf(room)?.since, since, 'since the first of them')
  faults.status = undefined
  faults.hang = true
  t.ok((await failsWith(/did not answer in time/)) < 20_000)
  faults.hang = false
  faults.trickle = 20
  t.ok((await failsWith(/did not answer in time/)) < 20_000, 'a byte now and then is no answer')
  faults.trickle = undefined
  await room.renew()
  t.equal(failureOf(room), undefined)
  t.strictSame(room.status().warnings, [])
  t.equal(readdirSync(kept).length, 1, 'no leftovers')

  t.test('and never did', async t => {
    rmSync(kept, { recursive: true })
    repository.faults.down = true
    t.match(await refused(), /TUF mirror http/)
    t.match(await refused(undefined, { network: false }), /the network is not to be used/)
  })
  t.test('closing does not wait for it', async t => {
    repository.faults.down = false
    const open2 = await open(undefined, {
      timeout: 60_000,
      deadline: 60_000,
    })
    const follower = followTrust({
      trust: open2,
      interval: 60_000,
      onError: e => t.fail(String(e)),
    })
    repository.faults.hang = true
    const started = performance.now()
    const renewing = open2.renew()
    setTimeout(() => void follower.close(), 100)
    await renewing
    t.match(failureOf(open2), { refused: false })
    t.ok(performance.now() - started < 20_000)
  })
})

t.test('what is kept', async t => {
  const { repository, kept, open, refused } = await lab(t)
  const old = new Map(repository.files)
  const [room, other] = [await open(), await open()]
  repository.publish({ targets: target(rootB) })
  await room.renew()
  // a mirror that was put back to an older day, asked by a process that has not seen the newer one
  for (const [name, bytes] of old) repository.files.set(name, bytes)
  await other.renew()
  t.match(failureOf(other), { refused: true, message: /less than current version/ })
  t.equal(inForce(other), rootB, 'what another process has fetched is taken')

  t.test('by somebody who lost the file', async t => {
    const [name = ''] = readdirSync(kept)
    const text = readFileSync(join(kept, name), 'utf8')
    rmSync(join(kept, name))
    await room.renew()
    t.match(failureOf(room), { message: /less than current version/ }, 'memory knows it')
    t.equal(inForce(room), rootB)
    t.equal(statSync(join(kept, name)).isFile(), true, 'and it is written again')
    writeFileSync(join(kept, name), text.slice(0, 100))
    t.match(await refused(), /is damaged; remove it to begin again/)
  })
})

t.test('an archive', async t => {
  const { repository, folder, open, refused } = await lab(t)
  const file = join(folder, 'tuf.tar.gz')
  const source: RootSource = { kind: 'archive', archive: file, root: join(folder, 'root.json') }
  const only = [source]
  t.match(await refused(only, { network: false }), /tuf\.tar\.gz: ENOENT/)
  writeFileSync(file, 'no archive')
  t.match(await refused(only), /tuf\.tar\.gz: it is no tar\.gz/)
  writeFileSync(file, gzipSync(Buffer.alloc(129 * 1024 * 1024), { level: 1 }))
  t.match(await refused(only), /it unpacks to more than \d+ bytes/)
  const timestamp = repository.files.get('timestamp.json') ?? Buffer.of()
  repository.files.delete('timestamp.json')
  await repository.archive(file)
  t.match(await refused(only), /it has no timestamp\.json/)
  repository.files.set('other/timestamp.json', timestamp)
  repository.files.set('timestamp.json', timestamp)
  await repository.archive(file)
  t.match(await refused(only), /several TUF repositories/)
  repository.files.delete('other/timestamp.json')
  await repository.archive(file, 'a/repository')
  const room = await open(only, { network: false })
  t.equal(inForce(room), rootA)
  t.strictSame(repository.requests, [], 'nobody was asked')

  t.test('a newer one is taken when it is there, an older one is not', async t => {
    const old = new Map(repository.files)
    repository.publish({ targets: target(rootB), rotate: ['root'] })
    await repository.archive(file)
    await room.look()
    t.equal(inForce(room), rootA, 'not before it has been the same twice')
    await room.look()
    t.equal(inForce(room), rootB)
    repository.files.clear()
    for (const [name, bytes] of old) repository.files.set(name, bytes)
    await repository.archive(file)
    await room.renew()
    t.match(failureOf(room), { refused: true, message: /less than current version/ })
    t.equal(inForce(room), rootB)
    t.equal(inForce(await open(only)), rootB)
  })
  t.test('it is verified, not unpacked', async t => {
    const other = await lab(t)
    const at = (name: string) => join(other.folder, name)
    const archive = (root: string): RootSource => ({
      kind: 'archive',
      archive: at('x.tgz'),
      root,
    })
    await other.repository.archive(at('x.tgz'))
    t.match(
      await other.refused([archive(join(folder, 'root.json'))]),
      /x\.tgz: /,
      'another root',
    )
    for (const [name, bytes] of other.repository.files)
      if (name.startsWith('targets/'))
        other.repository.files.set(name, Buffer.from(`${String(bytes)} `))
    await other.repository.archive(at('x.tgz'))
    t.match(await other.refused([archive(at('root.json'))]), /x\.tgz: /, 'another target')
    other.repository.publish({ expires: { timestamp: inDays(-1) } })
    await other.repository.archive(at('x.tgz'))
    t.match(await other.refused([archive(at('root.json'))]), /expired/, 'it is too old')
  })
})

t.test('its end is told early', async t => {
  const { repository, open } = await lab(t, {
    expires: { root: inDays(10), timestamp: inDays(3) },
  })
  const room = await open()
  t.match(room.status().warnings, [{ kind: 'expiring', message: /TUF root metadata ends at/ }])
  const later = (days: number) =>
    open(undefined, { now: () => new Date(Date.now() + days * day) })
  t.match((await later(4)).status().warnings, [
    { kind: 'expiring', message: /TUF root metadata/ },
    { kind: 'expired', message: /timestamp metadata ended at/ },
  ])
  repository.publish({ expires: { timestamp: inDays(3), root: inDays(400) } })
  await room.renew()
  t.strictSame(room.status().warnings, [])
})

t.test('public-good without the network', async t => {
  const { kept, open } = await lab(t)
  const room = await open([{ kind: 'public-good' }], {
    network: false,
    registryKeys: { kind: 'auto' },
  })
  const { targets } = shippedRepository()
  t.equal(inForce(room), JSON.stringify(JSON.parse(targets.get('trusted_root.json') ?? '')))
  t.match(room.status().sources, [{ name: 'public-good', origin: 'shipped' }])
  t.ok(room.materialOf('npm').registryKeys.length > 0)
  t.equal(room.materialOf('npm').registryKeys[0]?.registry, npmRegistry)
  await room.renew()
  t.equal(failureOf(room), undefined, 'not asked is not failed')

  t.test('and with a mirror of it that does not answer or is another', async t => {
    const { repository } = await lab(t)
    const mirror = [{ kind: 'tuf', mirror: repository.mirror }] as const
    const down = await open(mirror)
    await down.renew()
    t.match(down.status().sources, [{ origin: 'shipped', failure: { refused: true } }])
    t.match(down.status().warnings[0]?.message, /the copy shipped/)
    t.equal(inForce(down), inForce(room))
    const [name = ''] = readdirSync(kept)
    const { targets: written } = JSON.parse(readFileSync(join(kept, name), 'utf8')) as {
      targets: object
    }
    t.strictSame(written, {}, 'what is shipped is not kept: a newer package has newer ones')
    t.match((await open(mirror, { network: false })).status().sources, [{ origin: 'shipped' }])
  })
})
