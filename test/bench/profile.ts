/** Where Attestry's own time goes, one kind of request at a time, by V8's sampling profiler. */
import { request } from 'undici'
import { costsOf, type CpuProfile } from './cpu-profile.ts'
import type { Section } from './report.ts'
import { askServer } from './servers.ts'
import { show } from './statistics.ts'
import type { Bench, SuiteResult } from './suite.ts'
import type { Target } from './targets.ts'

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

const parts = 12
const functions = 18

const profile = async (
  { load, seconds, say }: Bench,
  target: Target,
  { title, path, headers, conditional }: Flow,
): Promise<readonly Section[]> => {
  const server = target.server()
  if (server === undefined) throw new Error('attestry does not run')
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
  await askServer(server, 'profile')
  const result = await load.run({ ...sent, seconds, connections: 32 })
  const read = (await askServer(server, 'profiled')) as CpuProfile
  const rows = (by: 'part' | 'function', count: number) =>
    costsOf(read, by)
      .slice(0, count)
      .map(({ name, self, total }) => [name, show(self * 100), show(total * 100)])
  const rate = show(result.perSecond)
  say(`profile: ${title}, ${rate} requests/s`)
  return [
    {
      title: `${title}, by part`,
      text: `At ${rate} requests/s while profiled. Shares of the time in which the main thread ran.`,
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

export const profileSuite = async (bench: Bench): Promise<SuiteResult> => {
  const target = bench.targets.find(({ name }) => name === 'attestry')
  if (!target?.restart) throw new Error('there is no attestry to look into')
  await target.restart(true)
  const sections: Section[] = []
  for (const flow of flows) sections.push(...(await profile(bench, target, flow)))
  return { sections }
}
