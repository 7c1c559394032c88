/**
 * The tables in PostgreSQL, as the steps that made them. Instances of two versions run together
 * while a new one is rolled out, so a step only ever adds what the old version does not mind, and
 * says with `runs` which version of the tables a program must know at least to go on with it; what
 * is no longer used is taken away by a step of a later release.
 */
import { refusal } from '../store-error.ts'
import type { Postgres } from './postgres.ts'

export type Step = {
  /** Programs that know the tables as of this step, counted from 1, may go on after it. */
  readonly runs: number
  readonly sql: string
}

export const steps: readonly Step[] = [
  {
    runs: 1,
    sql: `
  -- keys in the order of their bytes, as SQLite has them
  CREATE TABLE records (
    collection text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (collection, key)
  );

  CREATE TABLE audit (
    seq bigint PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    entry text NOT NULL
  );
  CREATE INDEX audit_by_name ON audit (name, seq);
  CREATE TABLE audit_tree (
    one int PRIMARY KEY CHECK (one = 1),
    size bigint NOT NULL,
    pruned bigint NOT NULL
  );
  INSERT INTO audit_tree VALUES (1, 0, 0);
  CREATE TABLE audit_tiles (
    level int NOT NULL,
    position bigint NOT NULL,
    hashes bytea NOT NULL,
    PRIMARY KEY (level, position)
  );
  CREATE TABLE audit_checkpoints (
    size bigint PRIMARY KEY,
    day text NOT NULL,
    note text NOT NULL
  );
  CREATE INDEX audit_checkpoints_by_day ON audit_checkpoints (day, size);
  CREATE TABLE audit_prunings (pruned bigint PRIMARY KEY, note text NOT NULL);
  -- Appends that were written: one whose answer was lost is not written twice.
  CREATE TABLE audit_batches (id uuid PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
  CREATE INDEX audit_batches_by_time ON audit_batches (at);

  CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'DELETE' AND OLD.seq <= (SELECT pruned FROM audit_tree WHERE one = 1) THEN
        RETURN OLD;
      END IF;
      RAISE EXCEPTION 'the audit log is append-only';
    END $$;
  CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
  CREATE FUNCTION audit_refuse_all() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
  CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_all();

  -- What the objects are: size in bytes, last use in milliseconds since 1970. One that is being
  -- deleted has a time at which that began.
  CREATE TABLE blobs (
    digest bytea PRIMARY KEY,
    size bigint NOT NULL,
    used bigint NOT NULL,
    deleting timestamptz
  );
  CREATE INDEX blobs_by_use ON blobs (used, digest);
  CREATE TABLE totals (one int PRIMARY KEY CHECK (one = 1), bytes bigint NOT NULL);
  INSERT INTO totals VALUES (1, 0);
  CREATE FUNCTION count_blobs() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE totals SET bytes = bytes + CASE TG_OP WHEN 'INSERT' THEN NEW.size ELSE -OLD.size END
        WHERE one = 1;
      RETURN NULL;
    END $$;
  CREATE TRIGGER blobs_counted AFTER INSERT OR DELETE ON blobs
    FOR EACH ROW EXECUTE FUNCTION count_blobs();

  -- What instances tell each other, under numbers without a gap; only the newest are kept.
  CREATE TABLE changes (
    seq bigint PRIMARY KEY,
    origin uuid NOT NULL,
    topic text NOT NULL,
    key text NOT NULL
  );
  CREATE TABLE change_count (one int PRIMARY KEY CHECK (one = 1), seq bigint NOT NULL);
  INSERT INTO change_count VALUES (1, 0);

  CREATE TABLE checks (one int PRIMARY KEY CHECK (one = 1), at timestamptz NOT NULL);
  `,
  },
]

/** For `pg_advisory_xact_lock`: whoever holds it makes tables. */
const lockNumber = 0x41545354

/**
 * Makes the schema and the tables, one instance at a time. Throws ESTORE when the tables are of a
 * version that this program may not go on with.
 */
export const migrate = (
  postgres: Postgres,
  all: readonly Step[] = steps,
): Promise<{ readonly found: number }> =>
  postgres.transaction('make the tables', async sql => {
    const { schema } = postgres
    await sql`SELECT pg_advisory_xact_lock(${lockNumber})`
    const [encoding] = await sql`SELECT pg_encoding_to_char(encoding) AS name FROM pg_database
      WHERE datname = current_database()`
    if (encoding?.['name'] !== 'UTF8') {
      const found = String(encoding?.['name'])
      throw refusal(`The database's encoding is ${found}; UTF8 is wanted.`, { found })
    }
    await sql`CREATE SCHEMA IF NOT EXISTS ${sql(schema)}`
    await sql`CREATE TABLE IF NOT EXISTS migrations (
      version int PRIMARY KEY, runs int NOT NULL, applied timestamptz NOT NULL DEFAULT now())`
    const [row] = await sql`SELECT coalesce(max(version), 0) AS version,
      coalesce(max(runs), 0) AS runs FROM migrations`
    const found = Number(row?.['version'])
    const runs = Number(row?.['runs'])
    if (runs > all.length) {
      throw refusal(
        `The tables in schema ${schema} are of version ${found}, which programs that know version ${runs} ` +
          `can use; this one knows up to ${all.length}. Update this instance.`,
        { found, wanted: all.length },
      )
    }
    for (const [index, step] of all.entries()) {
      if (index < found) continue
      await sql.unsafe(step.sql)
      await sql`INSERT INTO migrations (version, runs) VALUES (${index + 1}, ${step.runs})`
    }
    return { found }
  })
