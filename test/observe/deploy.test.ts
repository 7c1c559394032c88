/** What is shipped for running it: alert rules and a dashboard over metrics that exist, units, images, charts. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Registry } from '../../lib/observe/prom-client.ts'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { loadSettings } from '../../lib/config/settings.ts'
import { settingKeys, variableName } from '../../lib/config/keys.ts'
import { openMetrics } from '../../lib/observe/metrics.ts'
import { openTrustMetrics } from '../../lib/observe/trust-metrics.ts'

const config = resolve(import.meta.dirname, '../../config')
const text = (...path: string[]) => readFile(join(config, ...path), 'utf8')

t.test('alerts and dashboard ask for metrics that exist, by labels that they have', async t => {
  const registry = new Registry()
  const metrics = openMetrics({ registry, version: '0' })
  t.teardown(() => metrics.close())
  openTrustMetrics(registry)
  const known = new Set<string>()
  for (const { name, type } of await registry.getMetricsAsJSON()) {
    known.add(name)
    if (String(type) === 'histogram')
      for (const end of ['bucket', 'count', 'sum']) known.add(`${name}_${end}`)
  }
  type Rules = { groups: { rules: { alert: string; expr: string; annotations: object }[] }[] }
  const { groups } = parse(await text('monitoring', 'alerts.yaml')) as Rules
  const rules = groups.flatMap(group => group.rules)
  t.ok(rules.length >= 10)
  type Board = { panels: { title: string; targets: { expr: string }[] }[] }
  const { panels } = JSON.parse(await text('monitoring', 'dashboard.json')) as Board
  t.ok(panels.length >= 12)
  const asked = [
    ...rules.map(({ alert, expr }) => [alert, expr] as const),
    ...panels.flatMap(({ title, targets }) =>
      targets.map(({ expr }) => [title, expr] as const),
    ),
  ]
  for (const [where, expr] of asked) {
    const names = expr.match(/\b(attestry|process)_\w+/g) ?? []
    t.ok(names.length > 0, `${where} asks for something`)
    for (const name of names) t.ok(known.has(name), `${where}: ${name}`)
  }
})

const noSystemd = existsSync('/usr/bin/systemd-analyze') ? false : 'no systemd-analyze is here'

t.test('the unit is one that systemd takes', { skip: noSystemd }, async t => {
  const unit = join(config, 'deploy', 'attestry.service')
  const rated = spawnSync(
    'systemd-analyze',
    ['security', '--offline=true', '--threshold=20', unit],
    { encoding: 'utf8' },
  )
  t.equal(rated.status, 0, `exposure of at most 2.0: ${rated.stdout.slice(-200)}`)
  const checked = spawnSync('systemd-analyze', ['verify', unit], { encoding: 'utf8' })
  const said = checked.stderr.split('\n').filter(line => line.includes('attestry.service'))
  // that nothing is installed where ExecStart looks is no fault of the unit
  t.same(
    said.filter(line => !/is not executable|No such file/.test(line)),
    [],
  )
})

t.test('the image is built in two stages, and runs as nobody in particular', async t => {
  const lines = (await text('deploy', 'Dockerfile')).split('\n')
  const of = (word: string) => lines.filter(line => line.startsWith(`${word} `))
  t.equal(of('FROM').length, 2)
  t.match(of('USER').at(-1), /^USER node$/)
  t.ok(lines.lastIndexOf('USER node') > lines.findLastIndex(line => line.startsWith('RUN ')))
  const root = resolve(config, '..')
  for (const line of of('COPY').filter(copy => !copy.includes('--from='))) {
    for (const path of line.split(' ').slice(1, -1)) t.ok(existsSync(join(root, path)), path)
  }
  const variables = new Set(settingKeys.map(({ path }) => variableName(path)))
  for (const [name] of lines.join('\n').matchAll(/ATTESTRY_\w+/g))
    t.ok(variables.has(name), name)
})

t.test('compose: settings that exist, read-only, without privileges', async t => {
  const source = await text('deploy', 'compose.yaml')
  type Service = {
    read_only?: boolean
    cap_drop?: string[]
    environment?: object
    volumes: string[]
  }
  const { services } = parse(source, { merge: true }) as { services: Record<string, Service> }
  const ours = Object.entries(services).filter(([name]) => name.startsWith('attestry'))
  t.equal(ours.length, 3)
  const variables = new Set(settingKeys.map(({ path }) => variableName(path)))
  for (const [name, service] of ours) {
    t.equal(service.read_only, true, name)
    t.same(service.cap_drop, ['ALL'])
    for (const variable of Object.keys(service.environment ?? {}))
      t.ok(variables.has(variable), variable)
  }
  t.equal(new Set(ours.flatMap(([, { volumes }]) => volumes)).size, 3, 'a cache for each')
})

t.test('the chart: documents of Kubernetes, with settings that load', async t => {
  const values = parse(await text('deploy', 'helm', 'values.yaml')) as Record<string, unknown>
  const at = (path: string) =>
    path
      .split('.')
      .reduce<unknown>((found, key) => (found as Record<string, unknown>)[key], values)
  // as much of Helm's language as the chart uses; `helm template` itself is not to be had here
  const filled = (await text('deploy', 'helm', 'templates', 'attestry.yaml'))
    .replaceAll(
      / *\{\{- range \.Values\.([\w.]+) \}\}\n([^]*?) *\{\{- end \}\}\n/g,
      (_, path: string, body: string) =>
        (at(path) as string[]).map(item => body.replaceAll('{{ . }}', item)).join(''),
    )
    .replaceAll(/\{\{ toYaml \.Values\.([\w.]+) \| nindent \d+ \}\}/g, (_, path: string) =>
      JSON.stringify(at(path)),
    )
    .replaceAll(/\{\{ \.Values\.([\w.]+) \}\}/g, (_, path: string) => String(at(path)))
    .replaceAll('{{ .Release.Name }}', 'attestry')
  t.notMatch(filled, /\{ ?\{/)
  const documents = parseAllDocuments(filled).map(
    document => document.toJS() as Record<string, unknown>,
  )
  t.same(
    documents.map(({ kind }) => kind),
    ['ConfigMap', 'Service', 'PodDisruptionBudget', 'Deployment'],
  )
  const settings = String(Object.entries(documents[0]?.['data'] ?? {})[0]?.[1])
  const cwd = t.testdir({
    'attestry.yaml': settings.replaceAll(/\/etc\/attestry\/[\w-]+\//g, './'),
    'attestry.policy.yaml': '',
    'audit-log-key': '',
  })
  const env = { DATABASE_URL: 'postgres://d', S3_KEY: 'k', S3_SECRET: 's' }
  const loaded = await loadSettings({ env, cwd })
  t.equal(loaded.storage.s3?.url, 'https://s3.acme.example/attestry/')
  t.equal(loaded.server.drain, 15_000)
})
