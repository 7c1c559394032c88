/**
 * What a store is. The embedded store (node:sqlite and files) and a distributed one (S3 and
 * PostgreSQL) implement the same interfaces; test/contract/ holds one suite for both.
 */
import type { Readable } from 'node:stream'
import type { AuditEntry, Integrity } from '../types.ts'

export type BlobInfo = { readonly integrity: Integrity; readonly size: number }

/** Bytes on their way in. Nobody can read them before `commit`; `abort` leaves nothing behind. */
export interface StagedBlob {
  /** Resolves when the chunk is taken and more may come. */
  write(chunk: Uint8Array): Promise<void>
  /** Ends the input and tells what it was, before anybody can read it. */
  finish(): Promise<BlobInfo>
  /** After `finish`, and only while staged: the bytes, for looking inside before admitting them. */
  read(): Readable
  /** The same, where memory holds them; not to be written to. */
  held?(): Uint8Array | undefined
  /** Makes the bytes readable under their integrity, at once and whole (rename). Idempotent. */
  commit(): Promise<BlobInfo>
  abort(): Promise<void>
}

/** A blob that is read into the reader's own memory, which can be used again. Must be closed. */
export type BlobFile = {
  readonly size: number
  /** Resolves with how many bytes from `position` on are in `into` now: 0 where there are no more. */
  read(into: Buffer, position: number): Promise<number>
  /** Waits for a read under way. */
  close(): Promise<void>
}

/** Content-addressed bytes, immutable, written whole or not at all. */
/** `remember: false`: for bytes that are seldom read again, or held elsewhere; they take no memory from others. */
export type BlobUse = { readonly remember: boolean }

export interface Blobs {
  /** What it commits is in memory at once where it is small, unless `use` says otherwise. */
  stage(use?: BlobUse): Promise<StagedBlob>
  stat(integrity: Integrity): Promise<BlobInfo | undefined>
  /** The whole blob; for small ones. The bytes are shared with others: never write to them. */
  get(integrity: Integrity, use?: BlobUse): Promise<Buffer | undefined>
  /** The same of a small one, or what a large one is read from. */
  find(integrity: Integrity): Promise<Buffer | BlobFile | undefined>
  /** The whole blob where it is in memory; counts as a use. A store without a memory has none. */
  peek?(integrity: Integrity): Buffer | undefined
  /**
   * A stream over the bytes `start` to `end` inclusive (HTTP range), or all of it; it must be read
   * or destroyed. `size` is the whole blob's. An `end` past the last byte means the last byte; a
   * range that holds no byte of the blob is ESTORE.
   */
  open(
    integrity: Integrity,
    range?: { readonly start: number; readonly end: number },
  ): Promise<{ readonly stream: Readable; readonly size: number } | undefined>
  delete(integrity: Integrity): Promise<boolean>
  /** All of them, by digest; what comes or goes meanwhile may be left out. */
  list(): AsyncIterable<BlobInfo>
  /**
   * Hashes the bytes again and counts as no use of them. False when there are none any more: gone
   * before, or damaged and removed.
   */
  verify(integrity: Integrity): Promise<boolean>
  /** Total bytes held. */
  size(): Promise<number>
}

export type RecordUse = {
  /**
   * `false` for what can be made again: others can read it when the put resolves, and a loss of power
   * may take it. It is written along with what is written next.
   */
  readonly lasting?: boolean
}

/**
 * Small JSON values by collection and key. Every call is atomic; a put is durable when it resolves,
 * unless it says that it need not be.
 */
export interface Records {
  get<T>(collection: string, key: string): Promise<T | undefined>
  put(collection: string, key: string, value: unknown, use?: RecordUse): Promise<void>
  /** Stores `value` unless the key is taken; returns what is stored afterwards. */
  putIfAbsent<T>(collection: string, key: string, value: T): Promise<T>
  /**
   * Stores `after` if the value is still `before`, as `get` gave it (`undefined`: there is none);
   * false, and nothing stored, when somebody else was quicker.
   */
  swap<T>(collection: string, key: string, before: T | undefined, after: T): Promise<boolean>
  delete(collection: string, key: string): Promise<boolean>
  /** Entries whose key starts with `prefix`, by key. */
  list<T>(collection: string, prefix?: string): AsyncIterable<readonly [key: string, value: T]>
}

/** `seq` counts from 1 without gaps: entry `seq` is leaf `seq - 1` of the tree over all entries. */
export type StoredAuditEntry = AuditEntry & { readonly seq: number }

/** Entries as they are stored, exactly: what the tree's leaves are the hashes of. */
export type AuditText = {
  readonly seq: number
  readonly text: string
  /** The package's name as the index has it; `text` must say the same. */
  readonly name: string
}

/** The tree at one moment, as it is when a checkpoint of it may be signed. */
export type SealedTree = {
  readonly size: number
  readonly root: Uint8Array
  /** The newest checkpoint kept so far. */
  readonly last?: string
  /** The root hash that the tree has now at the size of `last`; absent where it is smaller now. */
  readonly lastRoot?: Uint8Array
}

export type AuditTreeState = {
  /** How many entries there are and have been: the next one gets `size + 1` as its `seq`. */
  readonly size: number
  /** Entries up to this `seq` may be gone; `prunings` say who took them out. */
  readonly pruned: number
  /** Signed checkpoints that are kept, oldest first: the last of each day and the newest. */
  readonly checkpoints: readonly string[]
  /** Signed notes, oldest first. */
  readonly prunings: readonly string[]
}

/**
 * Append-only; there is no call that changes an entry. Over the entries' exact texts stands a Merkle
 * tree (lib/transparency/), grown in the same transaction as an entry is added.
 */
export interface AuditLog {
  /** Resolves when the entry is durable. Calls made together are written together. */
  append(entry: AuditEntry): Promise<void>
  /** Entries with `seq` above `after`, oldest first; `name` keeps one package only. */
  read(options?: {
    readonly after?: number
    readonly limit?: number
    readonly name?: string
  }): AsyncIterable<StoredAuditEntry>
  /** The same as they are stored; also those that are damaged. */
  texts(options?: {
    readonly after?: number
    readonly limit?: number
  }): AsyncIterable<AuditText>
  tree(): Promise<AuditTreeState>
  /**
   * The hashes that one tile of the tree has, 32 bytes each, at most 256 (C2SP tlog-tiles); none
   * where there is no such tile.
   */
  tile(level: number, index: number): Promise<Uint8Array>
  /**
   * Calls `sign` with the tree as it is, keeps the checkpoint that it gives and gives that; all as
   * one transaction, so that of several instances one comes after another. `sign` is synchronous
   * and may throw, or give undefined where there is nothing to sign: then nothing is kept.
   */
  seal(sign: (tree: SealedTree) => string | undefined): Promise<string | undefined>
  /** Drops the entries up to `seq`, for which `note` is the signed word; their hashes stay. */
  prune(seq: number, note: string): Promise<void>
}

/** What changed. A reader ignores topics it does not know: a newer version may have published them. */
export type Change = {
  readonly topic:
    /** A package's stored revision is another now; `key` is its name and the revision, a space between. */
    | 'package'
    /** Somebody changed a package at its upstream, through us: what is stored is old; `key` is its name. */
    | 'expired'
    /** Facts about a version; `key` is its name@version. */
    | 'evidence'
    | 'policy'
    /** Other trust is in force; `key` is its digest. */
    | 'trust'
    | 'token'
    | 'vouch'
  readonly key: string
}

/**
 * Tells the other processes and machines on the same store what changed, within a second while all
 * is well. Best effort: correctness rests on what is read from the store, and this only tells when
 * to read again. A reader that may have missed something is told to `resync`: to take everything
 * it remembers of the store for old.
 */
export interface Changes {
  /** Resolves when the others can learn of it. Not told to listeners of this store itself. */
  publish(change: Change): Promise<void>
  /** Until the returned function is called. Listeners are quick and do not throw. */
  subscribe(listener: (news: Change | 'resync') => void): () => void
}

/** One at a time over all processes and machines on the same store. */
export interface Leases {
  /**
   * Runs `work` while nobody else runs any under `key`, after at most `wait` milliseconds; when
   * that was not enough, `work` is not run. The lease is freed when `work` ends and, within
   * seconds, when its process dies. Two may run after all when the store loses sight of a holder:
   * what must never happen twice rests on `putIfAbsent` and `swap`, not on this. Not re-entrant.
   */
  run<T>(
    key: string,
    work: () => Promise<T>,
    options: { readonly wait: number },
  ): Promise<{ readonly ran: true; readonly value: T } | { readonly ran: false }>
}

/** What is on this machine only, until the servers of a shared store take it. */
export type StoreBacklog = {
  /** Entries of the audit log, of verdicts that were on record before. */
  readonly audit: number
  readonly blobs: number
}

export interface Store {
  readonly blobs: Blobs
  readonly records: Records
  readonly audit: AuditLog
  readonly changes: Changes
  readonly leases: Leases
  /** Brings the blobs under the size limit, least recently used first, and clears leftovers. */
  collect(): Promise<{ readonly removed: number; readonly freed: number }>
  /** Cheap: can it read and write? Throws ESTORE when not. */
  check(): Promise<void>
  /** A store of this machine alone has none. */
  backlog?(): StoreBacklog
  close(): Promise<void>
}
