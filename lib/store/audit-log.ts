import { setImmediate as breathe } from 'node:timers/promises'
import type { StatementSync } from 'node:sqlite'
import { parseCheckpoint } from '../transparency/checkpoint.ts'
import { leafHash } from '../transparency/merkle.ts'
import { auditText, parseEntry } from './audit-rules.ts'
import { openAuditTree } from './audit-tree.ts'
import type { Database } from './database.ts'
import type { Batch, GroupWriter } from './group-writer.ts'
import type { Lifetime } from './store-error.ts'
import { assertOpen } from './store-error.ts'
import type { StoreLog } from './store-event.ts'
import type { AuditLog, AuditText } from './store.ts'

const pageRows = 256
const pruneRows = 1000

type Growth = { readonly batch: Batch; readonly at: number; readonly leaves: Buffer[] }

/**
 * The audit log in SQLite: a table whose triggers refuse every change, and the Merkle tree over it.
 * An append resolves once it is on the disk, so that no crash loses one that was acknowledged.
 */
export const openAuditLog = (
  database: Database,
  writer: GroupWriter,
  lifetime: Lifetime,
  log: StoreLog,
  now: () => Date,
): AuditLog => {
  const insert = database.prepare('INSERT INTO audit (seq, name, entry) VALUES (?, ?, ?)')
  const columns = 'SELECT seq, name, entry FROM audit WHERE'
  const page = database.prepare(`${columns} seq > ? ORDER BY seq LIMIT ?`)
  const pageByName = database.prepare(`${columns} name = ? AND seq > ? ORDER BY seq LIMIT ?`)
  const checkpoints = database.prepare('SELECT note FROM audit_checkpoints ORDER BY size')
  const prunings = database.prepare('SELECT note FROM audit_prunings ORDER BY pruned')
  const keepCheckpoint = database.prepare(
    `INSERT INTO audit_checkpoints VALUES (?, ?, ?)
     ON CONFLICT (size) DO UPDATE SET day = excluded.day, note = excluded.note`,
  )
  const dropOfDay = database.prepare('DELETE FROM audit_checkpoints WHERE day = ? AND size < ?')
  const keepPruning = database.prepare('INSERT OR REPLACE INTO audit_prunings VALUES (?, ?)')
  const markPruned = database.prepare('UPDATE audit_tree SET pruned = max(pruned, ?)')
  const drop = database.prepare(
    'DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE seq <= ? ORDER BY seq LIMIT ?)',
  )
  const tree = openAuditTree(database)
  const notes = (statement: StatementSync) => statement.all().map(row => String(row['note']))

  async function* rows(
    after: number,
    limit: number,
    read: (last: number, count: number) => readonly Record<string, unknown>[],
  ): AsyncGenerator<AuditText> {
    let left = limit
    let last = after
    while (left > 0) {
      const count = Math.min(left, pageRows)
      const found = await database.read('read the audit log', () => read(last, count))
      for (const row of found) {
        last = Number(row['seq'])
        yield { seq: last, name: String(row['name']), text: String(row['entry']) }
      }
      if (found.length < count) return
      left -= found.length
      await breathe()
      assertOpen(lifetime)
    }
  }

  let growing: Growth | undefined
  /** What one transaction adds to the tree: the tiles are written once for all its entries. */
  const growth = (batch: Batch): Growth => {
    if (growing?.batch === batch) return growing
    const now: Growth = { batch, at: tree.state().size, leaves: [] }
    batch.atEnd(() => {
      growing = undefined
      tree.grow(now.at, now.leaves)
    })
    growing = now
    return now
  }

  return {
    append: async entry => {
      assertOpen(lifetime)
      const text = auditText(entry)
      const leaf = leafHash(text)
      await writer.write(text.length, batch => {
        const { at, leaves } = growth(batch)
        insert.run(at + leaves.length + 1, entry.package.name, text)
        leaves.push(leaf)
      })
    },

    async *read({ after = 0, limit = Number.POSITIVE_INFINITY, name } = {}) {
      assertOpen(lifetime)
      const found = rows(after, limit, (last, count) =>
        name === undefined ? page.all(last, count) : pageByName.all(name, last, count),
      )
      for await (const row of found) {
        const entry = parseEntry(row, log)
        if (entry !== undefined) yield entry
      }
    },

    async *texts({ after = 0, limit = Number.POSITIVE_INFINITY } = {}) {
      assertOpen(lifetime)
      yield* rows(after, limit, (last, count) => page.all(last, count))
    },

    tree: async () => {
      assertOpen(lifetime)
      return database.read('read the audit log', () => {
        // others write between two statements: what is signed must not be ahead of what it is for
        const signed = notes(checkpoints)
        const { size, pruned } = tree.state()
        return { size, pruned, checkpoints: signed, prunings: notes(prunings) }
      })
    },

    tile: async (level, index) => {
      assertOpen(lifetime)
      return database.read('read the audit log', () => tree.tile({ level, index }))
    },

    seal: async sign => {
      assertOpen(lifetime)
      const note = await database.transaction('keep a checkpoint', 0, () => {
        const signed = sign(tree.sealed())
        if (signed === undefined) return undefined
        const { size } = parseCheckpoint(signed)
        const day = now().toISOString().slice(0, 10)
        keepCheckpoint.run(size, day, signed)
        dropOfDay.run(day, size)
        return signed
      })
      if (note !== undefined) await database.settled()
      return note
    },

    prune: async (seq, note) => {
      assertOpen(lifetime)
      await database.transaction('prune the audit log', note.length, () => {
        markPruned.run(seq)
        keepPruning.run(seq, note)
      })
      // in pieces: others want to write meanwhile, and a piece that is left is taken the next time
      for (let dropped = pruneRows; dropped === pruneRows;) {
        assertOpen(lifetime)
        dropped = await database.write('prune the audit log', 0, () =>
          Number(drop.run(seq, pruneRows).changes),
        )
        await breathe()
      }
      await database.settled()
    },
  }
}
