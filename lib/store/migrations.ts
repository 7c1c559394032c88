import type { DatabaseSync } from 'node:sqlite'
import { takeInEntries } from './audit-tree.ts'

/**
 * The tables, as the steps that made them. A released step is never edited: add one below it. The
 * database remembers in `migrations` which steps it has had.
 */
export const migrations: readonly (string | ((database: DatabaseSync) => void))[] = [
  `
  -- With rowids: values of some KB in the key's own tree made a look-up six times slower.
  CREATE TABLE records (
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (collection, key)
  ) STRICT;

  CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    entry TEXT NOT NULL
  ) STRICT;
  CREATE INDEX audit_by_name ON audit (name, seq);
  CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
  CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
  -- INSERT OR REPLACE removes the old row without the delete trigger.
  CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit
    WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

  -- What the blob files are: size in bytes, and last use in milliseconds since 1970.
  CREATE TABLE blobs (
    digest BLOB PRIMARY KEY,
    size INTEGER NOT NULL,
    used INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX blobs_by_use ON blobs (used, digest);

  -- One row, kept by triggers: summing a million blobs at each commit would be too slow.
  CREATE TABLE totals (one INTEGER PRIMARY KEY CHECK (one = 1), bytes INTEGER NOT NULL) STRICT;
  INSERT INTO totals VALUES (1, 0);
  CREATE TRIGGER blobs_added AFTER INSERT ON blobs
    BEGIN UPDATE totals SET bytes = bytes + NEW.size; END;
  CREATE TRIGGER blobs_removed AFTER DELETE ON blobs
    BEGIN UPDATE totals SET bytes = bytes - OLD.size; END;
  CREATE TRIGGER blobs_resized AFTER UPDATE OF size ON blobs WHEN OLD.size <> NEW.size
    BEGIN UPDATE totals SET bytes = bytes - OLD.size + NEW.size; END;

  CREATE TABLE checks (one INTEGER PRIMARY KEY CHECK (one = 1), at TEXT NOT NULL) STRICT;
  `,
  `
  -- What processes tell each other; only the newest are kept. A number is never used twice.
  CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    origin TEXT NOT NULL,
    topic TEXT NOT NULL,
    key TEXT NOT NULL
  ) STRICT;

  -- Who works on what, and until when (milliseconds since 1970) if nothing more is heard.
  CREATE TABLE leases (
    key TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    expires INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX leases_by_holder ON leases (holder);
  `,
  `
  -- The Merkle tree over the audit entries: leaf n is the text of the entry with seq n + 1, and a
  -- tile is up to 256 hashes of 32 bytes. Entries below the leaf \`pruned\` may be gone.
  CREATE TABLE audit_tree (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    size INTEGER NOT NULL,
    pruned INTEGER NOT NULL
  ) STRICT;
  INSERT INTO audit_tree VALUES (1, 0, 0);
  CREATE TABLE audit_tiles (
    level INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (level, position)
  ) STRICT;
  -- The last of each day, and the last of all.
  CREATE TABLE audit_checkpoints (
    size INTEGER PRIMARY KEY,
    day TEXT NOT NULL,
    note TEXT NOT NULL
  ) STRICT;
  -- What was taken out of the log on purpose, signed.
  CREATE TABLE audit_prunings (
    pruned INTEGER PRIMARY KEY,
    note TEXT NOT NULL
  ) STRICT;
  DROP TRIGGER audit_no_update;
  DROP TRIGGER audit_no_delete;
  DROP TRIGGER audit_no_replace;
  `,
  takeInEntries,
  `
  CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
  CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
    WHEN OLD.seq > (SELECT pruned FROM audit_tree)
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
  -- Whoever adds an entry adds it to the tree: a version that does not know the tree is refused,
  -- and so is INSERT OR REPLACE, which removes the old row without the delete trigger.
  CREATE TRIGGER audit_only_behind BEFORE INSERT ON audit
    WHEN NEW.seq <= (SELECT size FROM audit_tree)
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
  `,
]

/** "ATST": tells our databases from other people's (PRAGMA application_id). */
export const applicationId = 0x41545354
