/** Published policies: what travels, who wins, who has acknowledged, and an instance that follows. */
import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parseTexts } from '../../lib/cli/serve/policy-texts.ts'
import { loadSettings, type Overrides } from '../../lib/config/settings.ts'
import { AttestryError } from '../../lib/errors.ts'
import { loadPolicies } from '../../lib/open-policies.ts'
import { policyDigest } from '../../lib/policy/digest.ts'
import { awaitAll, gone, silence, standingOf } from '../../lib/rollout/acknowledge.ts'
import { followPublished, type RolloutEvent } from '../../lib/rollout/follow.ts'
import { historyMax, openPublished, type Publication } from '../../lib/rollout/published.ts'
import {
  contentDigest,
  contentMax,
  parseContent,
  parseRevision,
  readRevision,
  type Content,
} from '../../lib/rollout/revision.ts'
import { beat, joinRoster, membersOf, type Member } from '../../lib/rollout/roster.ts'
import { assertSize, readLayer } from '../../lib/rollout/source.ts'
import { openLocalStore } from '../../lib/store/local.ts'
import { runCli } from '../cli/console.ts'
import { codeOf, eventually } from '../contract/tools.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, writeSettings } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const open = async (t: Test) => {
  const store = await openLocalStore({ path: t.testdir() })
  t.teardown(() => store.close())
  return store
}
const contentOf = (text: string): Content => ({
  layers: [{ name: 'p.yaml', text, keys: {} }],
  views: {},
})
const denying = (reason: string) =>
  contentOf(`version: 1\nrules: [{ packages: [lib], deny: { reason: ${reason} } }]\n`)
const by = (content: Content): Publication => ({
  content,
  policyDigest: 'd'.repeat(64),
  by: 'ana',
  at: new Date('2026-06-01T00:00:00Z'),
})
const here = { upstreams: ['npm'], views: [] as string[] }

t.test('where the policy comes from', async t => {
  const cwd = t.testdir({
    'attestry.yaml': 'policySource: store\nviews: { one: {} }\n',
    'files.yaml':
      'policySource: store\npolicies: [a.txt]\nviews: { one: { policies: [a.txt] } }',
    'empty.yaml': 'views: { one: {} }',
    'a.txt': '',
  })
  const load = (file?: string, env = {}, overrides: Overrides = {}) =>
    loadSettings({ cwd, env, overrides, ...(file !== undefined && { file }) })
  t.match(await load(), { policySource: 'store', policies: [], views: { one: {} } })
  const byVariable = await load('files.yaml', { ATTESTRY_POLICY_SOURCE: 'files' })
  t.equal(byVariable.policySource, 'files')
  const named = await load(undefined, {}, { policy: ['a.txt'] })
  t.match(named, { policySource: 'files', policies: [join(cwd, 'a.txt')] }, 'by --policy')
  const both = {
    complaints: [
      { line: 2, column: 1 },
      { line: 3, column: 17 },
    ],
  }
  await t.rejects(load('files.yaml'), { code: 'ECONFIG', details: both })
  const empty = { complaints: [{ line: 1 }] }
  await t.rejects(load('empty.yaml'), { code: 'ECONFIG', details: empty })
})

t.test('publishing', async t => {
  await t.test('of two at once one is told, and nothing of either is lost', async t => {
    const { records, changes } = await open(t)
    const published = openPublished(records, changes)
    t.equal(await published.newest(), undefined)
    const first = await published.publish(by(denying('first')), undefined)
    const both = await Promise.allSettled([
      published.publish(by(denying('one')), first),
      published.publish(by(denying('two')), first),
    ])
    t.same(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
    const lost = both.find(one => one.status === 'rejected')
    t.match(lost?.reason, { code: 'ESUPERSEDED', message: /revision 2 .* by ana/ })
    t.equal((await published.newest())?.revision, 2)
    // who looked before that is told as well, and so is who saw nothing published
    for (const before of [first, undefined])
      await t.rejects(published.publish(by(denying('three')), before), {
        code: 'ESUPERSEDED',
      })
    t.same(
      (await published.history()).map(({ revision }) => revision),
      [2, 1],
    )
    t.equal((await published.revision(1))?.content, first.content)
  })

  await t.test('one that is stopped half-way leaves what was in force', async t => {
    const { records, changes } = await open(t)
    const published = openPublished(records, changes)
    const first = await published.publish(by(denying('first')), undefined)
    const failing = openPublished(
      { ...records, swap: () => Promise.reject(new Error('gone')) },
      changes,
    )
    await t.rejects(failing.publish(by(denying('second')), first))
    t.equal((await published.newest())?.revision, 1)
    t.equal((await published.history()).length, 1)
    t.equal((await published.publish(by(denying('second')), first)).revision, 2)
  })

  await t.test('a store that fails after the change does not take it back', async t => {
    const { records } = await open(t)
    const published = openPublished(
      { ...records, delete: () => Promise.reject(new Error('gone')) },
      { publish: () => Promise.reject(new Error('gone')) },
    )
    t.equal((await published.publish(by(denying('first')), undefined)).revision, 1)
    t.equal((await published.newest())?.revision, 1)
  })

  await t.test('the history is bounded', async t => {
    const { records, changes } = await open(t)
    const published = openPublished(records, changes)
    let newest = await published.publish(by(denying('0')), undefined)
    for (let count = 1; count < historyMax + 4; count++)
      newest = await published.publish(by(denying(String(count))), newest)
    const history = await published.history()
    t.equal(history.length, historyMax + 1)
    t.equal(history[0]?.revision, historyMax + 4)
    t.equal(history.at(-1)?.revision, 4)
  })
})

t.test('what travels', async t => {
  const folder = t.testdir()
  const key = () =>
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({
      format: 'pem',
      type: 'spki',
    }) as string
  const file = join(folder, 'keyed.yaml')
  writeFileSync(join(folder, 'acme.pub'), key())
  writeFileSync(
    file,
    'version: 1\nidentities: { acme: { key: ./acme.pub } }\nrules: [{ packages: ["@acme/*"], require: { signature: acme } }]\n',
  )
  const layer = await readLayer(file, ['npm'])
  const [local] = [await loadPolicies([file], ['npm'])]
  t.same(Object.keys(layer.keys), ['./acme.pub'])

  await t.test('the keys that a policy names', async t => {
    const content = { layers: [layer], views: {} }
    const place = () => 'p'
    // the file beside the policy is another one by now, as it is on any other machine
    writeFileSync(join(folder, 'acme.pub'), key())
    const { policies } = parseContent(content, { ...here, place })
    t.equal(policyDigest(policies), policyDigest(local))
    const without = { layers: [{ ...layer, keys: {} }], views: {} }
    t.throws(() => parseContent(without, { ...here, place }), { code: 'EPOLICY' })
    // a cluster's workers read changed files themselves
    const texts = [{ file, text: layer.text }]
    t.equal(
      policyDigest(parseTexts(texts, ['npm'])),
      policyDigest(await loadPolicies([file], ['npm'])),
    )
  })

  await t.test('every complaint at its place, of all layers', async t => {
    const { records, changes } = await open(t)
    const bad = { name: 'bad.yaml', text: 'version: 1\nmode: enforced\n', keys: {} }
    const revision = await openPublished(records, changes).publish(
      by({ layers: [layer, bad], views: { one: [bad], two: [bad] } }),
      undefined,
    )
    t.throws(() => parseRevision(revision, { upstreams: ['npm'], views: ['one'] }), {
      code: 'EPOLICY',
      message:
        /^revision 1: bad\.yaml:2:\d+: .*\nrevision 1 \(view one\): bad\.yaml:2:.*\n.*view two.*not configured/s,
      details: { complaints: [{ line: 2 }, { line: 2 }] },
    })
  })

  await t.test('what is not ours, or changed since, is not judged by', async t => {
    const { records, changes } = await open(t)
    const revision = await openPublished(records, changes).publish(by(denying('a')), undefined)
    t.same(readRevision(JSON.parse(JSON.stringify(revision))), revision)
    const changed = { ...revision, layers: contentOf('version: 1\n').layers }
    for (const wrong of [changed, { ...revision, format: 2 }, { more: 1 }, null, 'text'])
      t.throws(() => readRevision(wrong), { code: 'EPOLICY' })
    const { content, views } = { content: denying('a'), views: { one: [layer] } }
    t.not(contentDigest(content), contentDigest({ ...content, views }))
    t.throws(() => assertSize(contentOf('#'.repeat(contentMax + 1))), { code: 'EPOLICY' })
  })
})

t.test('the roster', async t => {
  const place = { name: 'a', worker: 1, workers: 1, version: '1', source: 'store' } as const
  const onError = () => undefined

  await t.test('one that did not end in good order is replaced by its name', async t => {
    const { records } = await open(t)
    const now = () => new Date()
    await joinRoster({ records, place, now, onError })
    const second = await joinRoster({ records, place, now, onError })
    const other = await joinRoster({ records, place: { ...place, worker: 2 }, now, onError })
    t.equal((await membersOf(records)).length, 2)
    await second.close()
    await other.close()
    t.same(await membersOf(records), [])
  })

  await t.test('what could not be written is written when the store is back', async t => {
    const { records } = await open(t)
    let down = false
    const errors: unknown[] = []
    const put: typeof records.put = (...args) =>
      down ? Promise.reject(new AttestryError('ESTOREDOWN', 'gone')) : records.put(...args)
    const member = await joinRoster({
      records: { ...records, put },
      place,
      now: () => new Date(),
      onError: error => errors.push(error),
    })
    t.teardown(() => member.close())
    let revision = 1
    member.is(() => ({ revision }))
    down = true
    member.tell()
    member.tell()
    await pause(50)
    t.equal((await membersOf(records))[0]?.revision, undefined)
    t.equal(errors.length, 1)
    revision = 2
    down = false
    t.ok(await eventually(async () => (await membersOf(records))[0]?.revision === 2))
  })

  await t.test('whoever is there, whatever the clocks say', t => {
    const revision = { revision: 3, content: 'c' }
    const now = new Date('2026-06-01T00:00:00Z')
    const seen = (ago: number) => new Date(now.getTime() - ago).toISOString()
    const member = (more: Partial<Member>): Member => ({
      ...place,
      id: 'i',
      seen: seen(100),
      ...revision,
      ...more,
    })
    const early = { first: undefined, looked: 0 }
    const late = (first: string) => ({ first, looked: 2 * beat })
    const cases: [string, Parameters<typeof standingOf>[3], Partial<Member>][] = [
      ['acknowledged', early, {}],
      ['waiting', early, { revision: 2 }],
      ['waiting', early, { content: 'other' }],
      ['waiting', early, { revision: undefined }],
      ['refused', early, { revision: 2, refused: { ...revision, message: 'no' } }],
      ['waiting', early, { revision: 1, refused: { revision: 2, content: 'x', message: '' } }],
      ['files', early, { source: 'files', revision: undefined }],
      ['unclear', early, { seen: seen(silence + 1) }],
      ['unclear', early, { seen: seen(-silence - 1) }],
      ['silent', late(seen(silence + 1)), { seen: seen(silence + 1) }],
      ['gone', late(seen(gone + 1)), { seen: seen(gone + 1) }],
      // alive, with a clock that is an hour late
      ['waiting', late(seen(3_600_000)), { revision: 2, seen: seen(3_595_000) }],
      ['acknowledged', late(seen(3_600_000)), { seen: seen(3_595_000) }],
    ]
    for (const [wanted, look, more] of cases)
      t.equal(standingOf(member(more), revision, now, look), wanted, JSON.stringify(more))
    t.end()
  })

  await t.test('waiting has an end', async t => {
    const { records, changes } = await open(t)
    const revision = await openPublished(records, changes).publish(by(denying('a')), undefined)
    const member = await joinRoster({ records, place, now: () => new Date(), onError })
    t.teardown(() => member.close())
    const begun = performance.now()
    const [seen] = await awaitAll({ records, revision, wait: 200 })
    t.equal(seen?.standing, 'waiting')
    t.ok(performance.now() - begun >= 200)
    const waiting = awaitAll({ records, revision, wait: 20_000 })
    const { revision: number, content } = revision
    member.is(() => ({ revision: number, content }))
    member.tell()
    t.equal((await waiting)[0]?.standing, 'acknowledged')
  })
})

t.test('an instance that follows', async t => {
  const follow = async (t: Test) => {
    const { records, changes } = await open(t)
    const published = openPublished(records, changes)
    const revision = await published.publish(by(denying('first')), undefined)
    let broken: Error | undefined
    const told: string[] = []
    let current = 'first'
    const events: RolloutEvent['event'][] = []
    const errors: unknown[] = []
    let state = () => ({}) as Partial<Member>
    const follower = followPublished({
      published: {
        newest: () => (broken ? Promise.reject(broken) : published.newest()),
      },
      changes: { subscribe: () => () => undefined },
      member: {
        is: given => void (state = given),
        tell: () => void told.push(`${current} ${state().revision}`),
        close: async () => undefined,
      },
      ...here,
      revision,
      adopt: ({ policies }) => {
        const { outcome } = policies[0]?.rules[0] ?? {}
        current = outcome?.kind === 'deny' ? outcome.reason : ''
      },
      digest: () => current,
      onEvent: ({ event }) => void events.push(event),
      onError: error => void errors.push(error),
      now: () => new Date(),
      interval: 10,
    })
    t.teardown(() => follower.close())
    const publish = async (content: Content) =>
      published.publish(by(content), await published.newest())
    const down = (error?: Error) => void (broken = error)
    return { publish, follower, told, events, errors, records, down, current: () => current }
  }

  await t.test('acknowledges what it judges by, and only then', async t => {
    const { publish, told } = await follow(t)
    await publish(denying('second'))
    t.ok(await eventually(() => told.length === 2))
    t.same(told, ['first 1', 'second 2'])
  })

  await t.test('keeps what it has when it cannot judge by the new one', async t => {
    const { publish, told, events, follower, current } = await follow(t)
    await publish(contentOf('version: 2\n'))
    t.ok(await eventually(() => events.length === 1))
    await pause(60)
    t.same(events, ['refused'], 'told once')
    t.equal(current(), 'first')
    t.match(follower.state(), { revision: 1, refused: { revision: 2, message: /revision 2/ } })
    t.same(told, ['first 1', 'first 1'], 'says that it refuses')
    await publish(denying('first'))
    t.ok(await eventually(() => follower.state().revision === 3))
    t.same(events, ['refused', 'restored'])
    t.strictSame(follower.state(), { revision: 3 })
    await publish(denying('fourth'))
    t.ok(await eventually(() => current() === 'fourth'))
    t.same(events, ['refused', 'restored', 'adopted'])
  })

  await t.test(
    'a store that is away, emptied or damaged takes nothing out of force',
    async t => {
      const { publish, events, errors, records, current, down, follower } = await follow(t)
      down(new AttestryError('ESTOREDOWN', 'gone'))
      t.ok(await eventually(() => errors.length > 0))
      await pause(50)
      t.equal(errors.length, 1, 'told once')
      down(undefined)
      await publish(denying('second'))
      t.ok(await eventually(() => current() === 'second'))
      await records.put('policy', 'newest', { format: 9 })
      t.ok(await eventually(() => events.includes('refused')))
      await records.delete('policy', 'newest')
      await pause(50)
      t.equal(current(), 'second')
      t.match(follower.state(), { revision: 2 })
    },
  )
})

t.test('on one machine, with a view', async t => {
  const sigstore = await localSigstore()
  const registry = await startRegistry({ sigstore })
  t.teardown(async () => {
    await registry.close()
    await sigstore.close()
  })
  await registry.publish({ name: 'lib', version: '1.0.0' })
  const folder = t.testdir({
    'org.yaml': 'version: 1\n',
    'team.yaml': 'version: 1\nrules: [{ packages: [lib], deny: { reason: no } }]\n',
    'strict.yaml': 'version: 1\nrules: [{ packages: [other], deny: { reason: no } }]\n',
    cli: {},
  })
  const options = {
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    storage: join(folder, 'store'),
    settings: 'policySource: store\nviews: { team: {} }\nserver: { name: here }',
  }
  const config = await writeSettings(join(folder, 'cli'), options)
  const policy = async (...args: string[]) => {
    const [what = '', ...rest] = args
    const ran = await runCli(['policy', what, '-c', config, ...rest], { cwd: folder })
    return { ...ran, json: () => JSON.parse(ran.stdout) as Record<string, unknown> }
  }
  t.equal(await codeOf(() => startProxy(options)), 'EPOLICY', 'nothing is published')
  t.equal((await policy('publish')).code, 2, 'no files are named')
  t.match((await policy('publish', '--view', 'team=team.yaml')).stderr, /EUSAGE/)
  t.match((await policy('publish', 'org.yaml', '--view', 'tean=team.yaml')).stderr, /team\b/)
  t.match((await policy('publish', '--revision', '7')).stderr, /ENOTFOUND/)
  const begun = await policy('publish', 'org.yaml', '--view', 'team=team.yaml', '--by', 'ana')
  t.equal(begun.code, 0)
  t.match(begun.stdout, /revision 1, .* by ana .*org\.yaml; view team: team\.yaml/)

  const proxy = await startProxy(options)
  t.teardown(() => proxy.close())
  const status = async (path: string) => {
    const answer = await fetch(`${proxy.url}${path}`)
    await answer.arrayBuffer()
    return answer.status
  }
  const tarball = 'lib/-/lib-1.0.0.tgz'
  t.equal(await status(tarball), 200)
  t.equal(await status(`v/team/${tarball}`), 403)

  const same = await policy('publish', 'org.yaml', '--json')
  t.match(same.json(), { published: false, revision: 1, acknowledged: true }, 'says the same')
  t.match(same.json(), { views: { team: ['team.yaml'] } }, 'what is not named stays')
  t.equal((await policy('publish', '--view', 'team=')).code, 0)
  t.equal(await status(`v/team/${tarball}`), 200, 'the view adds nothing any more')
  t.equal((await policy('publish', 'strict.yaml', 'team.yaml')).code, 0)
  t.equal(await status(tarball), 403)
  t.match((await policy('publish', 'org.yaml', '--expect', '2')).stderr, /ESUPERSEDED/)
  t.equal((await policy('publish', '--revision', '1', '--expect', '3')).code, 0)
  t.equal(await status(tarball), 200)
  t.equal(await status(`v/team/${tarball}`), 403, 'with its views')

  const shown = await policy('status')
  t.equal(shown.code, 0)
  t.match(shown.stdout, /^In force: revision 4, .*revision 1 again.*\nBefore: revision 3/)
  t.match(shown.stdout, /^here +4 +[0-9a-f]{12} .* acknowledged$/m)
  const { instances, older } = (await policy('status', '--json')).json()
  t.match(instances, [
    { name: 'here', state: 'acknowledged', policyDigest: proxy.gate.policyDigest },
  ])
  t.match(older, [{ revision: 3 }, { revision: 2 }, { revision: 1 }])

  await proxy.close()
  const after = await policy('status')
  t.match(after.stdout, /No instance is on record/)
})
