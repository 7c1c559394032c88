/** What the store says when the disk, or somebody else's data on it, is in the way. */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import * as promises from 'node:fs/promises'
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Test } from 'tap'
import { AttestryError } from '../../lib/errors.ts'
import { nodeFileSystem, type FileSystem } from '../../lib/store/file-system.ts'
import { openLocalStore } from '../../lib/store/local.ts'
import type { StoreEvent } from '../../lib/store/store-event.ts'
import type { Integrity } from '../../lib/types.ts'
import {
  MiB,
  auditEntry,
  codeOf,
  integrityOf,
  keepBytes,
  listAll,
  stageBytes,
} from '../contract/tools.ts'

const root = t.testdir({})
const space = () => join(root, randomBytes(6).toString('hex'))

const failure = (code: string): Error =>
  Object.assign(new Error(`${code}: simulated`), { code })

/** The file system, except that `fails` may name an error for a call. */
const faultyFileSystem = (
  fails: (call: string, path: string) => string | undefined,
): FileSystem => {
  const check = (call: string, path: unknown): void => {
    const code = fails(call, String(path))
    if (code !== undefined) throw failure(code)
  }
  const open: typeof promises.open = async (path, ...rest) => {
    check('open', path)
    const handle = await promises.open(path, ...rest)
    for (const call of ['write', 'datasync', 'read'] as const) {
      const real = handle[call].bind(handle) as (...args: unknown[]) => unknown
      Object.defineProperty(handle, call, {
        value: async (...args: unknown[]) => {
          check(call, path)
          return await real(...args)
        },
      })
    }
    return handle
  }
  const rename: typeof promises.rename = async (from, to) => {
    check('rename', to)
    await promises.rename(from, to)
  }
  const mkdir = (async (path: string, options: { recursive: true }) => {
    check('mkdir', path)
    return await promises.mkdir(path, options)
  }) as typeof promises.mkdir
  const unlink: typeof promises.unlink = async path => {
    check('unlink', path)
    await promises.unlink(path)
  }
  const mkdirSync: FileSystem['mkdirSync'] = (path, options) => {
    check('mkdir', path)
    return nodeFileSystem.mkdirSync(path, options)
  }
  const renameSync: FileSystem['renameSync'] = (from, to) => {
    check('rename', to)
    nodeFileSystem.renameSync(from, to)
  }
  const writeFileAtOnce: FileSystem['writeFileSync'] = (path, bytes, options) => {
    check('open', path)
    // as a full disk leaves it
    nodeFileSystem.writeFileSync(path, bytes.subarray(0, bytes.length / 2), options)
    check('write', path)
    unlinkSync(path)
    nodeFileSystem.writeFileSync(path, bytes, options)
  }
  return {
    ...promises,
    open,
    rename,
    mkdir,
    unlink,
    mkdirSync,
    renameSync,
    writeFileSync: writeFileAtOnce,
  }
}

const errorOf = async (work: () => Promise<unknown>): Promise<AttestryError> => {
  try {
    await work()
  } catch (error) {
    if (error instanceof AttestryError) return error
    throw error
  }
  throw new Error('it did not fail')
}

t.test('a blob that cannot be written', async t => {
  for (const [call, code, memoryBlobMax] of [
    ['open', 'EMFILE', 0],
    ['write', 'ENOSPC', 0],
    ['datasync', 'EIO', 0],
    ['rename', 'EACCES', 0],
    ['mkdir', 'EROFS', 0],
    // what memory holds is written when it is committed
    ['open', 'EMFILE', 4000],
    ['write', 'ENOSPC', 4000],
    ['rename', 'EACCES', 4000],
    ['mkdir', 'EROFS', 4000],
    ['write', 'ENOSPC', MiB],
    ['rename', 'EACCES', MiB],
  ] as const) {
    await t.test(
      `${call} fails with ${code}${memoryBlobMax > 0 ? ' at a commit' : ''}: ESTORE, nothing left, and the next one works`,
      async t => {
        const path = space()
        let broken = false
        const fs = faultyFileSystem(name => (broken && name === call ? code : undefined))
        const store = await openLocalStore({ path, fs, memoryBlobMax })
        t.teardown(() => store.close())
        const bytes = randomBytes(memoryBlobMax === MiB ? 200_000 : 2000)
        broken = true
        let staged: Awaited<ReturnType<typeof stageBytes>> | undefined
        const error = await errorOf(async () => {
          staged = await store.blobs.stage()
          await staged.write(bytes)
          await staged.finish()
          await staged.commit()
        })
        t.equal(error.code, 'ESTORE')
        t.match(error.message, code)
        t.match(error.message, path, 'it says where')
        if (call === 'write' || call === 'datasync' || call === 'open') {
          t.equal(await codeOf(() => store.check()), call === 'datasync' ? undefined : 'ESTORE')
        }
        broken = false
        await staged?.abort()
        t.same(readdirSync(join(path, 'tmp')), [])
        t.equal(await store.blobs.get(integrityOf(bytes)), undefined)
        t.equal(await store.blobs.size(), 0)
        await keepBytes(store.blobs, bytes)
        t.ok((await store.blobs.get(integrityOf(bytes)))?.equals(bytes))
      },
    )
  }

  for (const failing of ['rename', 'write'])
    await t.test(`a commit whose ${failing} failed may be tried again`, async t => {
      const path = space()
      let broken = false
      const fs = faultyFileSystem((call, to) =>
        broken && call === failing && (call === 'write' || to.includes('sha512'))
          ? 'ENOSPC'
          : undefined,
      )
      const store = await openLocalStore({ path, fs })
      t.teardown(() => store.close())
      const staged = await stageBytes(store.blobs, randomBytes(100))
      const { integrity } = await staged.finish()
      broken = true
      t.equal(await codeOf(() => staged.commit()), 'ESTORE')
      broken = false
      await staged.commit()
      t.ok(await store.blobs.get(integrity))
      t.same(readdirSync(join(path, 'tmp')), [])
    })
})

t.test('a commit in one process wins over a removal in another that began before', async t => {
  const path = space()
  const bytes = randomBytes(1500)
  const other = await openLocalStore({ path })
  t.teardown(() => other.close())
  let meanwhile: (() => Promise<unknown>) | undefined
  const rename: typeof promises.rename = async (from, to) => {
    const act = meanwhile
    meanwhile = undefined
    await act?.()
    await promises.rename(from, to)
  }
  const store = await openLocalStore({ path, fs: { ...nodeFileSystem, rename } })
  t.teardown(() => store.close())
  const name = await keepBytes(store.blobs, bytes)
  meanwhile = () => keepBytes(other.blobs, bytes)
  await store.blobs.delete(name)
  t.equal(meanwhile, undefined)
  t.ok((await store.blobs.get(name))?.equals(bytes))
  t.equal(await store.blobs.size(), bytes.length)
  t.same(readdirSync(join(path, 'tmp')), [])
})

t.test('a store on a broken disk can still be closed, and opened again', async t => {
  const path = space()
  let broken = false
  const fs = faultyFileSystem(call => (broken && call === 'unlink' ? 'EIO' : undefined))
  const store = await openLocalStore({ path, fs })
  const name = await keepBytes(store.blobs, randomBytes(100))
  const staged = await stageBytes(store.blobs, randomBytes(100))
  broken = true
  t.equal(await codeOf(() => store.blobs.delete(name)), 'ESTORE')
  await store.close()
  t.equal(await codeOf(() => staged.finish()), 'ESTORE')
  const again = await openLocalStore({ path })
  t.teardown(() => again.close())
  await again.check()
})

t.test('a blob removed while it is loaded is not remembered', async t => {
  const path = space()
  const before = await openLocalStore({ path })
  const name = await keepBytes(before.blobs, randomBytes(1500))
  await before.close()
  let removed: Promise<unknown> | undefined
  const open: typeof promises.open = async (...args) => {
    const handle = await promises.open(...args)
    // The file is open, and has lost its name before it is read.
    if (String(args[0]).includes('sha512')) removed ??= store.blobs.delete(name)
    await removed
    return handle
  }
  const store = await openLocalStore({ path, fs: { ...nodeFileSystem, open } })
  t.teardown(() => store.close())
  await store.blobs.get(name)
  t.equal(await removed, true)
  t.equal(await store.blobs.get(name), undefined)
})

t.test('a blob that cannot be read', async t => {
  const path = space()
  let broken: string | undefined
  const events: StoreEvent[] = []
  const fs = faultyFileSystem((call, file) =>
    call === broken && file.includes('sha512') ? 'EIO' : undefined,
  )
  const store = await openLocalStore({
    path,
    fs,
    memoryBytes: 0,
    log: event => events.push(event),
  })
  t.teardown(() => store.close())
  const small = await keepBytes(store.blobs, randomBytes(1000))
  const large = await keepBytes(store.blobs, randomBytes(2 * MiB))
  broken = 'open'
  for (const name of [small, large]) {
    t.equal(await codeOf(() => store.blobs.get(name)), 'ESTORE')
    t.equal(await codeOf(() => store.blobs.open(name)), 'ESTORE')
  }
  broken = 'read'
  t.equal(await codeOf(() => store.blobs.get(large)), 'ESTORE')
  broken = undefined
  t.ok(await store.blobs.get(small), 'an error is not damage: it is still there')
  t.ok(await store.blobs.get(large))
  t.same(
    events.filter(({ event }) => event === 'blob-damaged'),
    [],
  )
})

t.test('a path that cannot be a store', async t => {
  const refused = async (t: Test, path: string, wanted: RegExp) => {
    const error = await errorOf(() => openLocalStore({ path }))
    t.equal(error.code, 'ESTORE')
    t.match(error.message, wanted)
    t.match(error.message, path.split('/').at(-1))
  }
  const made = async (path: string) => {
    const store = await openLocalStore({ path })
    await store.close()
    return path
  }

  t.test('a file, and a path below a file', async t => {
    const file = space()
    writeFileSync(file, 'hello')
    await refused(t, file, /EEXIST|ENOTDIR/)
    await refused(t, join(file, 'below'), /ENOTDIR/)
    t.equal(readFileSync(file, 'utf8'), 'hello')
  })
  t.test(
    'one without permission',
    { skip: process.getuid?.() === 0 && 'root may do anything' },
    async t => {
      const path = space()
      mkdirSync(path)
      chmodSync(path, 0o500)
      t.teardown(() => chmodSync(path, 0o700))
      await refused(t, path, /EACCES/)
    },
  )
  t.test('a read-only file system', async t => {
    const fs = faultyFileSystem(call => (call === 'mkdir' ? 'EROFS' : undefined))
    t.match((await errorOf(() => openLocalStore({ path: space(), fs }))).message, /read-only/)
  })
  t.test('a store of another layout', async t => {
    const path = await made(space())
    writeFileSync(join(path, 'attestry-store.json'), '{"layout": 2}')
    await refused(t, path, /layout 2.*newer version/)
    const { details } = await errorOf(() => openLocalStore({ path }))
    t.match(details, { found: 2, wanted: 1 })
    writeFileSync(join(path, 'attestry-store.json'), '{"layout": 0}')
    await refused(t, path, /layout 0/)
    for (const text of ['', '{', 'null', '{}', '{"layout": "1"}']) {
      writeFileSync(join(path, 'attestry-store.json'), text)
      await refused(t, path, /stamp/)
    }
  })
  t.test("a store's parts without its stamp", async t => {
    const path = await made(space())
    rmSync(join(path, 'attestry-store.json'))
    await refused(t, path, /store\.sqlite/)
    const other = space()
    mkdirSync(join(other, 'blobs'), { recursive: true })
    await refused(t, other, /blobs/)
    t.same(readdirSync(join(other, 'blobs')), [])
  })
  t.test('tables of a newer version', async t => {
    const path = await made(space())
    const database = new DatabaseSync(join(path, 'store.sqlite'))
    database.exec("INSERT INTO migrations VALUES (99, '2030-01-01')")
    database.close()
    await refused(t, path, /version 99.*newer version/)
  })
  t.test("somebody else's database, and none at all", async t => {
    const path = await made(space())
    rmSync(join(path, 'store.sqlite'))
    const database = new DatabaseSync(join(path, 'store.sqlite'))
    database.exec('CREATE TABLE theirs (a)')
    database.close()
    await refused(t, path, /something else/)
    writeFileSync(join(path, 'store.sqlite'), randomBytes(8192))
    await refused(t, path, /not a SQLite database/)
  })
  t.test('other files beside the store are no hindrance', async t => {
    const path = space()
    mkdirSync(join(path, 'lost+found'), { recursive: true })
    writeFileSync(join(path, 'notes.txt'), 'ours')
    await made(path)
    t.equal(readFileSync(join(path, 'notes.txt'), 'utf8'), 'ours')
  })
})

t.test('a disk that fills while it is written to', async t => {
  const writer = fileURLToPath(new URL('crash-writer.ts', import.meta.url))
  for (const kind of ['blob', 'pin', 'audit']) {
    const path = space()
    // No file may grow beyond 1 MiB: the system refuses the write, to SQLite as to us.
    const { stdout } = spawnSync(
      'sh',
      [
        '-c',
        'ulimit -f 2048; exec "$0" "$@"',
        process.execPath,
        writer,
        path,
        'x',
        '1e9',
        kind,
      ],
      { encoding: 'utf8', timeout: 60_000, maxBuffer: 64 * MiB },
    )
    const lines = stdout.trim().split('\n')
    t.match(lines.at(-1), /^failed ESTORE/)
    const names = lines
      .filter(line => line.startsWith(kind))
      .map(line => line.split(' ')[1] ?? '')
    t.ok(names.length > 0, 'it got some way')
    const store = await openLocalStore({ path })
    const { blobs, records, audit } = store
    const kept = new Set<string>(
      kind === 'audit'
        ? (await listAll(audit.read())).map(({ rule }) => rule)
        : (await listAll(records.list('pin'))).map(([key]) => key),
    )
    for (const name of new Set(names)) {
      if (kind === 'blob') t.ok(await blobs.get(name as Integrity))
      else if (!kept.has(name)) t.fail(`${name} is lost`)
    }
    await records.put('c', 'k', 1)
    await store.close()
  }
})

t.test('appends and puts of a store that is being closed are kept', async t => {
  const path = space()
  const store = await openLocalStore({ path })
  const writes = [
    ...Array.from({ length: 300 }, (_, n) => store.audit.append(auditEntry('p', `${n}`))),
    store.records.put('c', 'k', 1),
  ]
  await store.close()
  await Promise.all(writes)
  const again = await openLocalStore({ path })
  t.teardown(() => again.close())
  t.equal((await listAll(again.audit.read())).length, 300)
  t.equal(await again.records.get('c', 'k'), 1)
})
