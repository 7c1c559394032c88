/** Somebody who can write to the database, and knows everything but the key. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { leafHash } from '../../lib/transparency/merkle.ts'
import { growTiles } from '../../lib/transparency/tiles.ts'

export type Forger = {
  readonly sql: (statement: string) => void
  readonly texts: () => string[]
  /** Puts these texts in place of all entries, as if there had never been others. */
  readonly rewrite: (texts: readonly string[], options?: { readonly hashes?: boolean }) => void
  /** Hashes and size as they have to be for the entries that are there. */
  readonly rehash: () => void
}

/** Triggers are dropped first. */
export const forge = (storage: string, work: (forger: Forger) => void): void => {
  const database = new DatabaseSync(join(storage, 'store.sqlite'), { timeout: 2000 })
  try {
    const triggers = database
      .prepare("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'")
      .all()
    for (const { name } of triggers) database.exec(`DROP TRIGGER ${String(name)}`)
    const texts = () =>
      database
        .prepare('SELECT entry FROM audit ORDER BY seq')
        .all()
        .map(row => String(row['entry']))
    const rehash = () => {
      const leaves = texts().map(leafHash)
      database.exec('DELETE FROM audit_tiles')
      const write = database.prepare('INSERT INTO audit_tiles VALUES (?, ?, ?)')
      for (const { level, index, hashes } of growTiles(0, leaves, () => Buffer.alloc(0)))
        write.run(level, index, hashes)
      database.prepare('UPDATE audit_tree SET size = ?').run(leaves.length)
    }
    const rewrite: Forger['rewrite'] = (wanted, { hashes = true } = {}) => {
      database.exec('DELETE FROM audit')
      const insert = database.prepare('INSERT INTO audit VALUES (?, ?, ?)')
      for (const [index, text] of wanted.entries()) {
        const { package: id } = JSON.parse(text) as { package: { name: string } }
        insert.run(index + 1, id.name, text)
      }
      if (hashes) rehash()
    }
    database.exec('BEGIN')
    work({ sql: statement => database.exec(statement), texts, rewrite, rehash })
    database.exec('COMMIT')
  } finally {
    database.close()
  }
}
