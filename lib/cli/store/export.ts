/** `attestry store export` */
import { resolve } from 'node:path'
import { AttestryError, messageOf } from '../../errors.ts'
import { openVouchRecords } from '../../gate/vouch-records.ts'
import { loadLockfileText } from '../../lockfile/find.ts'
import { readLockfile } from '../../lockfile/read.ts'
import type { Store } from '../../store/store.ts'
import type { Integrity } from '../../types.ts'
import { helpText, parseArguments } from '../arguments.ts'
import { withProgress } from '../audit/progress.ts'
import type { Io, Run } from '../io.ts'
import { jsonText, storeJack, withStore } from '../store-session.ts'
import {
  attestationsPath,
  CONTENTS,
  packumentPath,
  tarballPath,
  vouchesPath,
  type Contents,
  type VouchesPart,
} from './archive.ts'
import { sizeText } from './stats.ts'
import { openArchiveWriter, type ArchiveWriter } from './write-archive.ts'

type PackageRecord = {
  readonly upstream: string
  readonly raw: Integrity
  readonly fetchedAt: number
}
type Pin = { readonly integrity: Integrity; readonly upstream?: string }

/** Undefined: everything. Else versions by name. */
type Wanted = ReadonlyMap<string, ReadonlySet<string>> | undefined

const wantedOf = async (file: string | undefined): Promise<Wanted> => {
  if (file === undefined) return undefined
  const { packages } = readLockfile(await loadLockfileText(file), { file })
  const wanted = new Map<string, Set<string>>()
  for (const { kind, name, version } of packages) {
    if (kind !== 'registry') continue
    const versions = wanted.get(name) ?? new Set()
    wanted.set(name, versions.add(version))
  }
  return wanted
}

/** `name@version`, where the name may be scoped; what follows a space says whose it is. */
const split = (key: string) => {
  const [id = ''] = key.split(' ', 1)
  const at = id.lastIndexOf('@')
  return { name: id.slice(0, at), version: id.slice(at + 1) }
}

/** Those of a version that is wanted, with what was taken back; also of versions whose bytes are not here. */
const writeVouches = async (store: Store, wanted: Wanted, out: ArchiveWriter) => {
  const pages = await openVouchRecords(store, () => Promise.resolve()).pages()
  let count = 0
  for (const [text, { vouches, revocations }] of pages) {
    const id = split(text)
    if (wanted?.get(id.name)?.has(id.version) ?? wanted === undefined) {
      const part: VouchesPart = {
        vouches: vouches.map(({ record: { bundle, publicKey } }) => ({
          bundle: bundle as Record<string, unknown>,
          ...(publicKey !== undefined && { publicKey }),
        })),
        revocations: [...revocations],
      }
      await out.add(vouchesPath(id), Buffer.from(JSON.stringify(part)))
      count += vouches.length
    }
  }
  return count
}

const writeStore = async (store: Store, wanted: Wanted, out: ArchiveWriter, io: Io) => {
  const { records, blobs } = store
  const packages: (Contents['packages'][number] & { readonly raw: Integrity })[] = []
  for await (const [name, { upstream, raw, fetchedAt }] of records.list<PackageRecord>(
    'package',
  )) {
    // a packument that was evicted is asked for again by whoever has the network
    if (wanted && !wanted.has(name)) continue
    if (await blobs.stat(raw)) packages.push({ name, upstream, fetchedAt, raw })
  }
  const contents: Contents = {
    format: 1,
    createdAt: new Date().toISOString(),
    packages: packages.map(({ raw: _raw, ...rest }) => rest),
  }
  await out.add(CONTENTS, Buffer.from(JSON.stringify(contents)))
  let tarballs = 0
  const missing = new Set<string>()
  for (const [name, versions] of wanted ?? [])
    for (const version of versions) missing.add(`${name}@${version}`)
  const writePackage = async ({ name, raw, upstream }: (typeof packages)[number]) => {
    const start = `attestations ${upstream} `
    const text = await blobs.get(raw)
    if (!text) return
    await out.add(packumentPath(name), text)
    for await (const [key, { text: body }] of records.list<{ readonly text: string }>(
      'document',
      `${start}${name}@`,
    )) {
      await out.add(attestationsPath(split(key.slice(start.length))), Buffer.from(body))
    }
    for await (const [key, pin] of records.list<Pin>('pin', `${name}@`)) {
      const id = split(key)
      // bytes of a time when the name belonged to another upstream
      if ((pin.upstream ?? upstream) !== upstream) continue
      if (wanted?.get(name)?.has(id.version) === false) continue
      const found = await blobs.open(pin.integrity)
      if (!found) continue
      await out.addStream(tarballPath(id), found.size, found.stream)
      missing.delete(`${name}@${id.version}`)
      tarballs++
    }
  }
  const total = packages.length
  await withProgress(io, { title: 'writing', total }, async progress => {
    for (const one of packages) {
      await writePackage(one)
      progress.step()
    }
  })
  const vouches = await writeVouches(store, wanted, out)
  return { packages: packages.length, tarballs, vouches, missing: [...missing] }
}

export const exportStore: Run = async (args, io) => {
  const command = storeJack(
    'attestry store export FILE [options]',
    'Write packuments, attestations and admitted tarballs to a tar file.',
  ).opt({
    lockfile: { hint: 'file', description: 'Only what this lockfile names.' },
  })
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const [name, ...more] = positionals
  if (name === undefined || more.length > 0)
    throw new AttestryError('EUSAGE', 'store export: wanted the name of one file to write')
  const file = resolve(io.cwd, name)
  const lockfile = values.lockfile && resolve(io.cwd, values.lockfile)
  const wanted = await wantedOf(lockfile)
  return withStore(values, io, async store => {
    const out = await openArchiveWriter(file).catch((error: unknown) => {
      throw new AttestryError('EARCHIVE', `${file}: ${messageOf(error)}`, { cause: error })
    })
    try {
      const written = await writeStore(store, wanted, out, io)
      const { bytes } = await out.finish()
      if (values.json) io.stdout.write(jsonText({ file, bytes, ...written }))
      else {
        const { packages, tarballs, vouches, missing } = written
        for (const id of missing) io.stdout.write(`${id}: not in the store\n`)
        const words = vouches === 0 ? '' : `, ${vouches} vouches`
        const sum = `${packages} packages, ${tarballs} tarballs${words}, ${sizeText(bytes)}`
        io.stdout.write(
          `${name}: ${sum}${missing.length > 0 ? `; ${missing.length} missing` : ''}.\n`,
        )
      }
      // the archive is good, but it is not all that was asked for
      return written.missing.length > 0 ? 2 : 0
    } finally {
      await out.abort()
    }
  })
}
