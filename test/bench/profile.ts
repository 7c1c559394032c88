/** Where Attestry's own time goes, one kind of request at a time, by V8's sampling profiler. */
import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import { costsOf, type CpuProfile } from './cpu-profile.ts'
import { replay } from './replay.ts'
import type { Section } from './report.ts'
import { askServer } from './servers.ts'
import { show } from './statistics.ts'
import type { Bench, SuiteResult } from './suite.ts'
import { aloneTarget, type Target } from './targets.ts'

type Flow = {
  readonly title: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly conditional?: boolean
}

const packument = {
  accept: 'application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*',
  'accept-encoding': 'gzip',
}

const flows: readonly Flow[] = [
  { title: 'Packument, not modified', path: '/medium', headers: packument, conditional: true },
  { title: 'Packument, gzip', path: '/medium', headers: packument },
  {
    title: 'Packument, identity',
    path: '/medium',
    headers: { accept: packument.accept },
  },
  { title: 'Tarball of 10 KB', path: '/tar-10k/-/tar-10k-0.0.2.tgz', headers: {} },
  { title: 'Tarball of 4 MB', path: '/tar-4m/-/tar-4m-0.0.2.tgz', headers: {} },
]

const parts = 8
const functions = 10

const sectionsOf = (title: string, pace: string, profile: CpuProfile): readonly Section[] => {
  const rows = (by: 'part' | 'function', count: number) =>
    costsOf(profile, by)
      .slice(0, count)
      .map(({ name, self, total }) => [name, show(self * 100), show(total * 100)])
  return [
    {
      title: `${title}, by part`,
      text: `${pace} while profiled. Shares of the time in which the main thread ran.`,
      columns: ['part', 'self %', 'with what it calls %'],
      rows: rows('part', parts),
    },
    {
      title: `${title}, by function`,
      columns: ['function', 'self %', 'with what it calls %'],
      rows: rows('function', functions),
    },
  ]
}

const profiled = async (target: Target, work: () => Promise<string>) => {
  const server = target.server()
  if (server === undefined) throw new Error('attestry does not run')
  await askServer(server, 'profile')
  const pace = await work()
  return { pace, profile: (await askServer(server, 'profiled')) as CpuProfile }
}

const loaded = async (
  { load, seconds }: Bench,
  target: Target,
  { title, path, headers, conditional }: Flow,
): Promise<readonly Section[]> => {
  const ask = async () => {
    const answer = await request(`${target.url()}${path}`, { headers })
    await answer.body.dump({ limit: 1e9 })
    return answer.headers.etag
  }
  await ask()
  const etag = await ask()
  const validator =
    conditional === true && typeof etag === 'string' ? { 'if-none-match': etag } : {}
  const sent = { url: target.url(), path, headers: { ...headers, ...validator } }
  // once unseen, for the code to be compiled
  await load.run({ ...sent, seconds, connections: 32 })
  const { pace, profile } = await profiled(target, async () => {
    const { perSecond } = await load.run({ ...sent, seconds, connections: 32 })
    return `${show(perSecond)} requests/s`
  })
  return sectionsOf(title, pace, profile)
}

/** A first pass, one right after it, and one when all background work has ended. */
const replayed = async ({ upstream }: Bench, target: Target): Promise<readonly Section[]> => {
  const sections: Section[] = []
  for (const title of ['An application, cold', 'The same again', 'And once more']) {
    const { pace, profile } = await profiled(target, async () => {
      const { packuments, tarballs } = await replay(target, upstream.names, upstream.tarballs)
      return `${show(packuments.seconds)} s for packuments and ${show(tarballs.seconds)} s for tarballs`
    })
    sections.push(...sectionsOf(title, pace, profile))
    await sleep(2_000)
  }
  return sections
}

export const profileSuite = async (bench: Bench): Promise<SuiteResult> => {
  const target = aloneTarget(bench.upstream, bench.folder)
  if (!target.restart) throw new Error('there is no attestry to look into')
  await target.restart(true)
  const sections = [...(await replayed(bench, target))]
  for (const flow of flows) sections.push(...(await loaded(bench, target, flow)))
  await target.stop()
  for (const { title, text } of sections)
    if (text !== undefined) bench.say(`profile: ${title}: ${text}`)
  return { sections }
}
