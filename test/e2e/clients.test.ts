/**
 * The client matrix: nine real package managers through everything people do with a registry, and
 * what they show of a refusal. By default the cells that `isUsual` names; with ATTESTRY_MATRIX=all
 * every cell, and docs/clients.md is held to what was seen; with `write` it is written.
 */
import t from 'tap'
import { clientNames, installClients } from '../support/clients.ts'
import { expected, isUsual } from './matrix/expected.ts'
import { openJourney, type Seen } from './matrix/journey.ts'
import { clientsPage, keyOf } from './matrix/report.ts'
import { scenarioNames, scenarios } from './matrix/scenarios.ts'
import { openWorld } from './matrix/world.ts'

const wanted = process.env['ATTESTRY_MATRIX'] ?? ''
if (!['', 'all', 'write'].includes(wanted))
  throw new Error(`ATTESTRY_MATRIX is "${wanted}": wanted all, write, or nothing`)

const clients = await installClients()
if (clients.kind === 'missing') {
  t.plan(0, clients.reason)
} else {
  const world = await openWorld()
  t.teardown(() => world.close())
  const results = new Map<string, Seen>()
  const left: string[] = []

  for (const client of clientNames) {
    t.test(client, async t => {
      const journey = openJourney(clients, client, world)
      t.teardown(() => journey.close())
      for (const scenario of scenarioNames) {
        if (wanted === '' && !isUsual(scenario, client)) continue
        const cell = expected(scenario, client)
        if ('why' in cell) {
          await t.test(scenarios[scenario], { skip: cell.why }, () => {})
          continue
        }
        const seen = await journey.seen(scenario)
        if (typeof seen === 'string') {
          left.push(seen)
          await t.test(scenarios[scenario], { skip: seen }, () => {})
          continue
        }
        results.set(keyOf(scenario, client), seen)
        await t.test(scenarios[scenario], async t => {
          const { code, output, installed } = seen
          t.equal(code === 0 ? 'well' : 'badly', cell.ends, `it ends ${cell.ends}`)
          t.not(code, null, 'it ends by itself')
          for (const pattern of cell.shows ?? []) t.match(output, pattern)
          for (const id of cell.has ?? []) t.ok(installed.includes(id), `has ${id}`)
          for (const id of cell.lacks ?? []) t.notOk(installed.includes(id), `lacks ${id}`)
          if (cell.exactly) t.same(installed, cell.exactly)
          if (!t.passing()) t.comment(output)
        })
      }
      // who asks again and again makes its user wait; deno asks four times, quickly
      const asked = world.refusals(`forged-${client}`)
      t.ok(asked >= 1 && asked <= (client === 'deno' ? 4 : 1), `refused ${asked} times`)
    })
  }

  t.test('what was published is signed by Attestry', async t => {
    t.strictSame(world.unsigned, [])
  })

  t.test('nobody went round Attestry', async t => {
    const { requests } = world.registry
    t.ok(requests.length > 0)
    const strangers = requests.filter(({ headers }) => !headers['attestry-via'])
    t.same(
      strangers.map(({ rawPath, headers }) => [rawPath, headers['user-agent']]),
      [],
    )
    t.notMatch(requests.map(({ rawPath }) => rawPath).join(' '), 'private')
  })

  const partial = wanted === '' ? 'only with ATTESTRY_MATRIX=all' : left[0]
  // what went wrong is not written down
  const passing = () => t.passing()
  t.test('docs/clients.md tells what was seen', partial ? { skip: partial } : {}, async t => {
    const page = await clientsPage(results)
    if (wanted === 'write' && passing()) await page.write()
    else t.equal(page.now, page.wanted, 'npm run matrix:write')
  })
}
