/**
 * Does a verdict's look-up take longer among a million versions than among a few? Two stores of each
 * kind, one with the versions that are looked up and nothing else, one with a million more, asked in
 * turns. The shared kind takes part where PostgreSQL and Ceph are installed. Needs some 4 GB of disk.
 *
 *     node_modules/.bin/node test/bench/scale.ts [VERSIONS]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import openClient from 'postgres'
import { openLocalStore } from '../../lib/store/local.ts'
import { openSharedStore } from '../../lib/store/shared/open-shared.ts'
import type { Store } from '../../lib/store/store.ts'
import { startObjectStore } from '../support/servers/object-store.ts'
import { startPostgres } from '../support/servers/postgres.ts'
import { percentile, ratios, show, showSpread } from './statistics.ts'

const versions = Number(process.argv[2] ?? 1_000_000)
if (!Number.isSafeInteger(versions) || versions < 1)
  throw new Error(`${process.argv[2]}: wanted a number of versions`)

const packages = 100
const releases = 20
const rounds = 5
const lookUps = 2_000

/** As long as the evidence of a version with provenance is. */
const evidence = JSON.stringify({
  evidence: { identity: { workflow: 'x'.repeat(400) }, provenance: 'y'.repeat(600) },
  claims: 'z'.repeat(43),
  checkedAt: 0,
})
const record = JSON.stringify({ integrity: `sha512-${'a'.repeat(88)}`, size: 1, at: '' })

const nameOf = (n: number) => `sample-${n}`
const say = (text: string) => process.stdout.write(`${text}\n`)

/** What is looked up, put there as it is put there otherwise. */
const fill = async ({ records }: Store) => {
  for (let p = 0; p < packages; p++) {
    const name = nameOf(p)
    await records.put('package', name, JSON.parse(record))
    await Promise.all(
      Array.from({ length: releases }, async (_, r) => {
        await records.put('evidence', `${name}@1.${r}.0`, JSON.parse(evidence))
        await records.put('pin', `${name}@1.${r}.0`, JSON.parse(record))
      }),
    )
  }
}

/** What a verdict needs of the store where nothing is in memory: package, pin, evidence of all releases. */
const lookUp = async ({ records }: Store, n: number) => {
  const name = nameOf(n % packages)
  const found = await records.get('package', name)
  const pin = await records.get('pin', `${name}@1.${n % releases}.0`)
  let seen = 0
  for await (const _ of records.list('evidence', `${name}@`)) seen++
  if (!found || !pin || seen !== releases) throw new Error(`${name} is not all there`)
}

const timed = async (store: Store, seed: number): Promise<number[]> => {
  const taken: number[] = []
  for (let i = 0; i < lookUps; i++) {
    const n = (i * 7919 + seed * 104_729) % (packages * releases)
    const begun = performance.now()
    await lookUp(store, n)
    taken.push(performance.now() - begun)
  }
  return taken
}

/** `open` opens the same two stores again each time, with nothing in memory. */
const compare = async (kind: string, open: (which: 'few' | 'many') => Promise<Store>) => {
  const p50 = { few: [] as number[], many: [] as number[] }
  const p99 = { few: [] as number[], many: [] as number[] }
  for (let round = 0; round < rounds; round++)
    for (const which of round % 2 === 0
      ? (['few', 'many'] as const)
      : (['many', 'few'] as const)) {
      const store = await open(which)
      const taken = await timed(store, round)
      await store.close()
      p50[which].push(percentile(taken, 0.5))
      p99[which].push(percentile(taken, 0.99))
    }
  for (const [what, figures] of [
    ['p50', p50],
    ['p99', p99],
  ] as const)
    say(
      `| ${kind} | ${what} | ${figures.few.map(show).join(' ')} | ${figures.many.map(show).join(' ')} | ${showSpread(ratios(figures.many, figures.few))} |`,
    )
}

const folder = await mkdtemp(join(tmpdir(), 'attestry-scale-'))
const tables = ['evidence', 'pin', 'package'] as const
const perTable = { evidence: versions, pin: versions, package: Math.ceil(versions / releases) }

try {
  say(
    `${versions} versions more; milliseconds for each of ${rounds} rounds of ${lookUps} look-ups`,
  )
  say('| store | | few | many | many / few |')
  say('| --- | --- | --- | --- | --- |')
  const local = async (which: 'few' | 'many') => openLocalStore({ path: join(folder, which) })
  for (const which of ['few', 'many'] as const) {
    const store = await local(which)
    await fill(store)
    await store.close()
  }
  const database = new DatabaseSync(join(folder, 'many', 'store.sqlite'))
  for (const table of tables)
    database
      .prepare(
        `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
         INSERT INTO records
         SELECT ?, printf('bulk-%x', (i / 20 * 2654435761) % 4294967296) || '-' || (i / 20) ||
           CASE WHEN ? = 'package' THEN i ELSE '@1.' || (i % 20) || '.0' END, ? FROM n`,
      )
      .run(perTable[table], table, table, table === 'evidence' ? evidence : record)
  database.close()
  await compare('embedded', local)

  const postgres = await startPostgres()
  const s3 = postgres && (await startObjectStore())
  try {
    if (!postgres || !s3) say('shared: PostgreSQL or Ceph is not installed')
    else {
      const shared = async (which: 'few' | 'many') =>
        openSharedStore({
          postgres: {
            url: postgres.url,
            schema: which,
            connections: 4,
            timeout: 60_000,
            patience: 5_000,
          },
          s3: { ...s3, region: 'us-east-1', timeout: 10_000, patience: 5_000 },
          path: join(folder, `shared-${which}`),
        })
      for (const which of ['few', 'many'] as const) {
        const store = await shared(which)
        await fill(store)
        await store.close()
      }
      const sql = openClient(postgres.url, { max: 1, connection: { search_path: 'many' } })
      for (const table of tables)
        await sql`
          INSERT INTO records (collection, key, value)
          SELECT ${table}::text,
            'bulk-' || to_hex((i / 20 * 2654435761) % 4294967296) || '-' || (i / 20) ||
              ${table === 'package' ? sql`i` : sql`'@1.' || (i % 20) || '.0'`},
            ${table === 'evidence' ? evidence : record}::text
          FROM generate_series(0, ${perTable[table] - 1}::bigint) AS i`
      await sql`ANALYZE records`
      await sql.end()
      await compare('shared', shared)
    }
  } finally {
    await s3?.close()
    await postgres?.close()
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
