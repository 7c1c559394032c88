import { randomUUID } from 'node:crypto'
import { setImmediate as breathe } from 'node:timers/promises'
import { parseCheckpoint } from '../../transparency/checkpoint.ts'
import { leafHash } from '../../transparency/merkle.ts'
import { auditText, parseEntry } from '../audit-rules.ts'
import type { Lifetime } from '../store-error.ts'
import { assertOpen } from '../store-error.ts'
import type { StoreLog } from '../store-event.ts'
import type { AuditLog, AuditText } from '../store.ts'
import { openBatcher } from './batcher.ts'
import type { Postgres } from './postgres.ts'
import { growTree, lockTree, readTile, rootOfTree } from './postgres-audit-tree.ts'

const pageRows = 256
const pruneRows = 1000
/** Entries in one transaction. */
const batchMax = 500

export type Appended = { readonly name: string; readonly text: string }

export type SharedAudit = AuditLog & {
  /** As one transaction, once: the same `id` again, after an answer that was lost, adds nothing. */
  appendBatch(id: string, entries: readonly Appended[]): Promise<void>
  /** Forgets which batches were written a week ago: no answer is that late. */
  tidy(): Promise<void>
  drained(): Promise<void>
}

/**
 * The audit log in PostgreSQL. Whoever appends holds the row of the tree, so that the entries of all
 * instances are in one order without gaps; what one instance appends meanwhile goes in together.
 */
export const openPostgresAudit = (
  postgres: Postgres,
  lifetime: Lifetime,
  log: StoreLog,
  now: () => Date,
): SharedAudit => {
  const appendBatch = (id: string, entries: readonly Appended[]): Promise<void> => {
    const leaves = entries.map(({ text }) => leafHash(text))
    return postgres.transaction('write to the audit log', async sql => {
      const { size } = await lockTree(sql)
      const { count } =
        await sql`INSERT INTO audit_batches (id) VALUES (${id}) ON CONFLICT DO NOTHING`
      if (count === 0) return
      await sql`INSERT INTO audit (seq, name, entry) SELECT * FROM unnest(
        ${entries.map((_, index) => size + index + 1)}::bigint[],
        ${entries.map(({ name }) => name)}::text[],
        ${entries.map(({ text }) => text)}::text[])`
      await growTree(sql, size, leaves)
    })
  }

  const batcher = openBatcher<Appended, void>(batchMax, async entries => {
    await appendBatch(randomUUID(), entries)
    return entries.map(() => undefined)
  })

  async function* rows(after: number, limit: number, name?: string): AsyncGenerator<AuditText> {
    let left = limit
    let last = after
    while (left > 0) {
      const count = Math.min(left, pageRows)
      const start = last
      const found = await postgres.run('read the audit log', sql =>
        name === undefined
          ? sql`SELECT seq, name, entry FROM audit WHERE seq > ${start} ORDER BY seq LIMIT ${count}`
          : sql`SELECT seq, name, entry FROM audit WHERE name = ${name} AND seq > ${start}
              ORDER BY seq LIMIT ${count}`,
      )
      for (const row of found) {
        last = Number(row['seq'])
        yield { seq: last, name: String(row['name']), text: String(row['entry']) }
      }
      if (found.length < count) return
      left -= found.length
      assertOpen(lifetime)
    }
  }

  return {
    appendBatch,
    drained: batcher.drained,
    tidy: async () => {
      await postgres.run(
        'tidy the audit log',
        sql => sql`DELETE FROM audit_batches WHERE at < now() - interval '7 days'`,
      )
    },

    append: async entry => {
      assertOpen(lifetime)
      await batcher.add({ name: entry.package.name, text: auditText(entry) })
    },

    async *read({ after = 0, limit = Number.POSITIVE_INFINITY, name } = {}) {
      assertOpen(lifetime)
      for await (const row of rows(after, limit, name)) {
        const entry = parseEntry(row, log)
        if (entry !== undefined) yield entry
      }
    },

    async *texts({ after = 0, limit = Number.POSITIVE_INFINITY } = {}) {
      assertOpen(lifetime)
      yield* rows(after, limit)
    },

    tree: async () => {
      assertOpen(lifetime)
      return postgres.transaction('read the audit log', async sql => {
        const { size, pruned } = await lockTree(sql)
        const checkpoints = await sql`SELECT note FROM audit_checkpoints ORDER BY size`
        const prunings = await sql`SELECT note FROM audit_prunings ORDER BY pruned`
        const notes = (found: Iterable<Record<string, unknown>>) =>
          Array.from(found, row => String(row['note']))
        return { size, pruned, checkpoints: notes(checkpoints), prunings: notes(prunings) }
      })
    },

    tile: async (level, index) => {
      assertOpen(lifetime)
      return postgres.run('read the audit log', sql => readTile(sql, { level, index }))
    },

    seal: async sign => {
      assertOpen(lifetime)
      return postgres.transaction('keep a checkpoint', async sql => {
        const { size } = await lockTree(sql)
        const [newest] =
          await sql`SELECT note FROM audit_checkpoints ORDER BY size DESC LIMIT 1`
        const last = newest?.['note'] as string | undefined
        const before = last === undefined ? undefined : parseCheckpoint(last).size
        const signed = sign({
          size,
          root: await rootOfTree(sql, size),
          ...(last !== undefined && { last }),
          ...(before !== undefined &&
            before <= size && { lastRoot: await rootOfTree(sql, before) }),
        })
        if (signed === undefined) return undefined
        const checkpoint = parseCheckpoint(signed)
        const day = now().toISOString().slice(0, 10)
        await sql`INSERT INTO audit_checkpoints VALUES (${checkpoint.size}, ${day}, ${signed})
          ON CONFLICT (size) DO UPDATE SET day = excluded.day, note = excluded.note`
        await sql`DELETE FROM audit_checkpoints WHERE day = ${day} AND size < ${checkpoint.size}`
        return signed
      })
    },

    prune: async (seq, note) => {
      assertOpen(lifetime)
      await postgres.transaction('prune the audit log', async sql => {
        await sql`UPDATE audit_tree SET pruned = greatest(pruned, ${seq}) WHERE one = 1`
        await sql`INSERT INTO audit_prunings VALUES (${seq}, ${note})
          ON CONFLICT (pruned) DO UPDATE SET note = excluded.note`
      })
      // in pieces: others want to write meanwhile, and a piece that is left is taken the next time
      for (let dropped = pruneRows; dropped === pruneRows;) {
        assertOpen(lifetime)
        const { count } = await postgres.run(
          'prune the audit log',
          sql => sql`DELETE FROM audit WHERE seq IN
            (SELECT seq FROM audit WHERE seq <= ${seq} ORDER BY seq LIMIT ${pruneRows})`,
        )
        dropped = count
        await breathe()
      }
    },
  }
}
