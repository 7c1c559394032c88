/**
 * Prints the tables of docs/policy.md: what each level of continuity refuses of honest packages and
 * stops of attacks. Needs the corpus (see test/support/corpus.ts).
 *
 *     node_modules/.bin/node test/bench/continuity-table.ts
 */
import { policy } from '../policy/material.ts'
import {
  incidents,
  inputOf,
  judgeVersion,
  recordedPackages,
  whenPublished,
  type Incident,
  type Story,
} from '../policy/stories.ts'
import { judge } from '../../lib/policy/evaluate.ts'
import { noCorpus } from '../support/corpus.ts'

const today = new Date('2026-11-22T00:00:00Z')

const settings = [
  ['off', 'never'],
  ['release-line', 'never'],
  ['release-line', '365d'],
  ['release-line', '90d'],
  ['release-line', '30d'],
  ['package', 'never'],
  ['package', '90d'],
] as const

const layersOf = ([level, settledAfter]: (typeof settings)[number]) => [
  policy(`defaults: { continuity: { level: ${level}, settledAfter: ${settledAfter} } }`),
]
const words = ([level, settled]: (typeof settings)[number]) =>
  level === 'off'
    ? '`off`'
    : `\`${level}\`, settled ${settled === 'never' ? settled : `after ${settled}`}`

const isLoss = (layers: ReturnType<typeof layersOf>, story: Story, version: string, at: Date) =>
  judgeVersion(layers, story, version, at).reasons.some(r => r.code === 'DOWNGRADED')

/** An hour after it came out, with what was known then. */
const lossWhenNew = (layers: ReturnType<typeof layersOf>, story: Story, version: string) => {
  const day = story.releases.find(r => r.version === version)?.publishedAt ?? ''
  const at = new Date(Date.parse(day) + 3_600_000)
  return isLoss(layers, whenPublished(story, version), version, at)
}

const row = (...cells: readonly (string | number)[]) => `| ${cells.join(' | ')} |\n`
const table = (head: readonly string[], rows: readonly string[]) =>
  row(...head) + row(...head.map(() => '---')) + rows.join('')

const honest = () => {
  const stories = [...recordedPackages().values()]
  const versions = stories.flatMap(story =>
    story.releases.map(({ version }) => ({ story, version })),
  )
  const some = stories.filter(s => s.releases.some(r => r.claimsProvenance))
  const rows = settings.map(setting => {
    const layers = layersOf(setting)
    const now = versions.filter(v => isLoss(layers, v.story, v.version, today))
    const fresh = versions.filter(v => lossWhenNew(layers, v.story, v.version))
    const which = [...Map.groupBy(now, v => v.story.name)].map(([name, list]) =>
      list.length > 4
        ? `${name} (${list.length})`
        : `${name} ${list.map(v => v.version).join(', ')}`,
    )
    return row(words(setting), fresh.length, now.length, which.join('; ') || 'none')
  })
  const all = `${versions.length} versions of ${stories.length} packages, ${some.length} of which ever had provenance\n\n`
  return all + table(['continuity', 'refused when new', 'refused today', 'which, today'], rows)
}

const stops = (incident: Incident) => {
  const cell = (setting: (typeof settings)[number]) => {
    const layers = layersOf(setting)
    const count = incident.bad.filter(v => {
      const verdict = judge(layers, inputOf(incident, v, true), today)
      return verdict.decision === 'refuse'
    }).length
    return count === 0 ? 'no' : count === incident.bad.length ? 'yes' : `${count}`
  }
  const columns = settings.filter(([, s]) => s === '90d' || s === 'never')
  return row(incident.name, incident.title, ...columns.map(cell))
}

/** What the same levels hold against the honest releases told in the incidents. */
const bystanders = () => {
  const versions = incidents.flatMap(story =>
    story.releases
      .filter(r => !story.bad.includes(r.version))
      .map(({ version }) => ({ story, version })),
  )
  const names = (list: typeof versions) =>
    list.map(v => `${v.story.name} ${v.version}`).join(', ') || 'none'
  return settings.map(setting => {
    const layers = layersOf(setting)
    const fresh = versions.filter(v => lossWhenNew(layers, v.story, v.version))
    const now = versions.filter(v => isLoss(layers, v.story, v.version, today))
    return row(words(setting), names(fresh), names(now))
  })
}

if (noCorpus === false) {
  const columns = settings.filter(([, s]) => s === '90d' || s === 'never').map(words)
  process.stdout.write(honest())
  process.stdout.write(`\n${table(['package', 'what', ...columns], incidents.map(stops))}`)
  const heads = ['continuity', 'refused when new', 'refused today']
  process.stdout.write(`\n${table(heads, bystanders())}`)
} else process.stdout.write(`${noCorpus}\n`)
