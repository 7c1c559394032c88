/** How long a verdict takes where the facts are stored: a gate in this process, no server. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { loadSettings } from '../../lib/config/settings.ts'
import { openRooms, type Rooms } from '../../lib/rooms.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import type { Gate } from '../../lib/gate/gate.ts'
import type { PackageId } from '../../lib/types.ts'
import { writeSettings } from '../support/proxy.ts'
import { quiet, watchOthers } from './machine.ts'
import { percentile, show } from './statistics.ts'
import type { Bench, SuiteResult } from './suite.ts'

const idOf = (path: string): PackageId => {
  const [name = '', file = ''] = path.split('/-/')
  const base = name.slice(name.indexOf('/') + 1)
  return { name, version: file.slice(base.length + 1, -'.tgz'.length) }
}

const another = 'version: 1\ndefaults: { minimumAge: 1d }\n'

export const verdictSuite = async (bench: Bench): Promise<SuiteResult> => {
  const { upstream, patience, say } = bench
  const folder = join(bench.folder, 'verdicts')
  await mkdir(folder, { recursive: true })
  const file = await writeSettings(folder, {
    upstream: `${upstream.url}/`,
    trustedRoot: upstream.trustedRoot,
    registryKeys: upstream.registryKeys,
    settings: 'cache: { packumentTtl: 1d }',
  })
  const settings = await loadSettings({ file, env: {}, cwd: folder })
  const open = async (): Promise<{ rooms: Rooms; gate: Gate }> => {
    const rooms = await openRooms({ settings })
    return { rooms, gate: rooms.openGate('http://127.0.0.1:1/') }
  }
  const ids = upstream.tarballs.map(idOf)
  const rows: string[][] = []
  const time = async (what: string, work: (id: PackageId) => Promise<unknown>, times = 1) => {
    await quiet(patience)
    const others = watchOthers()
    const taken: number[] = []
    for (let i = 0; i < times; i++)
      for (const id of ids) {
        const begun = performance.now()
        await work(id)
        taken.push(performance.now() - begun)
      }
    const figures = [0.5, 0.99, 1].map(share => show(percentile(taken, share)))
    rows.push([what, `${taken.length}`, ...figures, show(others() * 100)])
    say(`verdicts: ${rows.at(-1)?.join(' ')}`)
  }
  const client = { address: '127.0.0.1' }

  const first = await open()
  for (const id of ids) await first.gate.tarball(id, client)
  await first.gate.idle()
  await time('remembered verdict of a tarball', id => first.gate.tarball(id, client), 3)
  await time('judged again (assess), everything in memory', id => first.gate.assess(id), 3)
  first.gate.adopt([parsePolicy(another, { file: 'another.yaml', name: 'another' })])
  await time('another policy: judged from stored facts', id => first.gate.tarball(id, client))
  await first.rooms.close()
  const second = await open()
  await time('after a restart: packument and facts read from disk', id =>
    second.gate.tarball(id, client),
  )
  await second.rooms.close()
  return {
    sections: [
      {
        title: 'Verdicts from stored evidence',
        text: 'One after the other, in milliseconds; each verdict goes into the audit log.',
        columns: ['what', 'n', 'p50', 'p99', 'most', 'others %'],
        rows,
      },
    ],
  }
}
