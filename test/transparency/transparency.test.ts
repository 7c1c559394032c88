/** Merkle trees, tiles, notes and checkpoints against published vectors and a second, naive way. */
import { generateKeyPairSync } from 'node:crypto'
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { isAttestryError } from '../../lib/errors.ts'
import {
  openCheckpoint,
  parseCheckpoint,
  signCheckpoint,
} from '../../lib/transparency/checkpoint.ts'
import {
  consistencyRanges,
  emptyRoot,
  inclusionRanges,
  leafHash,
  provesConsistency,
  provesInclusion,
  rangeHash,
  rootHash,
  type LeafRange,
} from '../../lib/transparency/merkle.ts'
import {
  noteSigner,
  parseNote,
  parseVerifierKey,
  signersOf,
  signNote,
} from '../../lib/transparency/note.ts'
import {
  entryBundle,
  parseTilePath,
  readEntryBundle,
  tilePath,
} from '../../lib/transparency/tile-path.ts'
import {
  edgeTiles,
  growTiles,
  nodesOf,
  tilesRead,
  widthOf,
  withTiles,
  type TileReader,
} from '../../lib/transparency/tiles.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const sha256 = (...parts: Uint8Array[]) =>
  createHash('sha256').update(Buffer.concat(parts)).digest()

/** RFC 6962 2.1 word for word, over entries: nothing of ours in it. */
const naiveRoot = (entries: readonly Uint8Array[]): Buffer => {
  const [only] = entries
  if (only === undefined) return sha256()
  if (entries.length === 1) return sha256(Buffer.of(0), only)
  const k = 2 ** Math.floor(Math.log2(entries.length - 1))
  return sha256(Buffer.of(1), naiveRoot(entries.slice(0, k)), naiveRoot(entries.slice(k)))
}

/** A tree in tiles, grown in steps of these sizes. */
const tiled = (entries: readonly Uint8Array[], steps: readonly number[] = [entries.length]) => {
  const tiles = new Map<string, Uint8Array>()
  const read: TileReader = ({ level, index }) =>
    tiles.get(`${level}/${index}`) ?? Buffer.alloc(0)
  let size = 0
  for (const step of steps) {
    const leaves = entries.slice(size, size + step).map(entry => leafHash(entry))
    const edge = new Set(edgeTiles(size).map(({ level, index }) => `${level}/${index}`))
    const grown = growTiles(size, leaves, tile => {
      if (!edge.has(`${tile.level}/${tile.index}`)) throw new Error('not at the edge')
      return read(tile)
    })
    for (const { level, index, hashes } of grown) tiles.set(`${level}/${index}`, hashes)
    size += leaves.length
  }
  return { read, node: nodesOf(read), tiles }
}

const numbered = (count: number) =>
  Array.from({ length: count }, (_, index) => Buffer.from(`entry ${index}`))

/** Of the RFC 6962 implementations: eight entries, and the roots of the trees of 1 to 8 of them. */
const vectors = {
  entries: [
    '',
    '00',
    '10',
    '2021',
    '3031',
    '40414243',
    '5051525354555657',
    '606162636465666768696a6b6c6d6e6f',
  ].map(text => Buffer.from(text, 'hex')),
  roots: [
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ],
}

t.test('roots as others compute them', async t => {
  const { node } = tiled(vectors.entries)
  for (const [size, root] of vectors.roots.entries())
    t.equal(hex(rootHash(size, node)), root, `${size}`)
  t.equal(hex(leafHash('ä')), hex(leafHash(Buffer.from('ä'))), 'a text is its UTF-8')
})

t.test('every proof of every tree up to 40 leaves holds, and none of another', async t => {
  const entries = numbered(40)
  const { node } = tiled(entries)
  const roots = Array.from({ length: 41 }, (_, size) => naiveRoot(entries.slice(0, size)))
  const hashes = (ranges: readonly LeafRange[]) => ranges.map(range => rangeHash(range, node))
  let held = 0
  const wrongly: string[] = []
  for (const [size, root] of roots.entries()) {
    if (!rootHash(size, node).every((byte, i) => byte === root[i])) t.fail(`root of ${size}`)
    for (let leaf = 0; leaf < size; leaf += 1) {
      const proof = hashes(inclusionRanges(leaf, size))
      const claim = { leaf, size, hash: leafHash(entries[leaf] ?? ''), root, proof }
      if (provesInclusion(claim)) held += 1
      const lies = [
        { ...claim, leaf: leaf + 1 },
        { ...claim, leaf: leaf - 1 },
        { ...claim, hash: leafHash('another') },
        { ...claim, root: leafHash('another') },
        { ...claim, proof: [...proof, root] },
        ...(proof.length > 0 ? [{ ...claim, proof: proof.slice(1) }] : []),
        ...(proof.length > 0 ? [{ ...claim, proof: proof.slice(0, -1) }] : []),
        ...(proof.length > 1 ? [{ ...claim, proof: proof.toReversed() }] : []),
      ]
      if (lies.some(provesInclusion)) wrongly.push(`leaf ${leaf} of ${size}`)
    }
    for (let first = 0; first <= size; first += 1) {
      const older = { size: first, root: roots[first] ?? emptyRoot }
      const newer = { size, root }
      const proof = hashes(consistencyRanges(first, size))
      if (provesConsistency(older, newer, proof)) held += 1
      const another = { size: first, root: leafHash('another') }
      const lies = [
        provesConsistency(another, newer, proof),
        provesConsistency(older, newer, [...proof, root]),
        first > 0 && provesConsistency(older, { size, root: leafHash('another') }, proof),
        proof.length > 0 && provesConsistency(older, newer, proof.slice(1)),
        proof.length > 0 && provesConsistency(older, newer, proof.slice(0, -1)),
        proof.length > 0 && provesConsistency(older, newer, [root, ...proof.slice(1)]),
        first < size && provesConsistency(newer, older, proof),
      ]
      if (lies.includes(true)) wrongly.push(`${first} in ${size}`)
    }
  }
  t.equal(held, 820 + 861, 'all that are true')
  t.same(wrongly, [])
})

t.test('a tree does not depend on the steps it grew in', async t => {
  const entries = numbered(70_000)
  const whole = tiled(entries)
  // tlog-tiles' own example: 273 full tiles and one of 112, then 1 and 17, then 1
  const widths = (level: number) =>
    [...whole.tiles]
      .filter(([key]) => key.startsWith(`${level}/`))
      .map(([, { length }]) => length / 32)
  t.equal(widths(0).filter(width => width === 256).length, 273)
  t.same([widths(0).at(-1), widths(1), widths(2)], [112, [256, 17], [1]])
  for (const [key, hashes] of whole.tiles) {
    const [level = 0, index = 0] = key.split('/').map(Number)
    if (widthOf(70_000, { level, index }) !== hashes.length / 32) t.fail(key)
  }
  t.equal(hex(rootHash(70_000, whole.node)), hex(naiveRoot(entries)))

  const steps = fc.array(fc.integer({ min: 1, max: 600 }), { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(steps, steps => {
      const size = steps.reduce((sum, step) => sum + step, 0)
      const grown = tiled(entries, steps)
      const once = tiled(entries.slice(0, size))
      return (
        hex(rootHash(size, grown.node)) === hex(naiveRoot(entries.slice(0, size))) &&
        [...once.tiles].every(([key, hashes]) =>
          Buffer.from(hashes).equals(grown.tiles.get(key) ?? Buffer.alloc(0)),
        )
      )
    }),
    { numRuns: 25 },
  )

  const work = (node: typeof whole.node) =>
    consistencyRanges(300, 70_000).map(range => hex(rangeHash(range, node)))
  const asked = tilesRead(work)
  t.ok(asked.length < 9, `${asked.length} tiles for a proof`)
  const fetched = await withTiles(work, async tile => whole.read(tile))
  t.same(fetched, work(whole.node))
  t.throws(() => rootHash(70_001, whole.node), { code: 'ELOG' }, 'a tile that is too short')
})

t.test('addresses of tiles, and bundles', async t => {
  t.equal(tilePath({ level: 0, index: 1_234_067, width: 256 }), 'tile/0/x001/x234/067')
  t.equal(tilePath({ level: 'entries', index: 0, width: 9 }), 'tile/entries/000.p/9')
  for (const path of ['tile/0/000', 'tile/63/x001/000.p/255', 'tile/entries/x001/x234/067'])
    t.equal(tilePath(parseTilePath(path) ?? { level: 0, index: 0, width: 0 }), path)
  const wrong = [
    'tile/00/000',
    'tile/64/000',
    'tile/0/0',
    'tile/0/x000/001',
    'tile/0/000.p/256',
    'tile/0/000.p/0',
    'tile/0/000.p/01',
    'tile/0/001/000',
    'tile/entry/000',
    'tile/0/000/',
    'tile/0/x999/x999/x999/x999/x999/999',
  ]
  for (const path of wrong) t.equal(parseTilePath(path), undefined, path)

  const entries = ['', 'a', 'ä'.repeat(30_000)]
  t.same(readEntryBundle(entryBundle(entries)).map(String), entries)
  t.throws(() => entryBundle(['x'.repeat(65_536)]), { code: 'ELOG' })
  t.throws(() => readEntryBundle(Buffer.of(0, 2, 65)), { code: 'ELOG' })
  t.throws(() => readEntryBundle(Buffer.of(0)), { code: 'ELOG' })
})

/** The example in the documentation of golang.org/x/mod/sumdb/note. */
const peter = {
  key: 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW',
  note: [
    'If you think cryptography is the answer to your problem,',
    "then you don't know what your problem is.",
    '',
    '— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=',
    '',
  ].join('\n'),
}

const newSigner = (name: string) => noteSigner(name, generateKeyPairSync('ed25519').privateKey)

t.test('notes', async t => {
  const key = parseVerifierKey(peter.key)
  t.same(signersOf(parseNote(peter.note), [key]), ['PeterNeumann'])
  const altered = peter.note.replace('answer', 'aswner')
  t.throws(() => signersOf(parseNote(altered), [key]), { code: 'ELOG' })
  t.throws(() => parseVerifierKey(peter.key.replace('c74f', 'c75f')), { code: 'ELOG' })
  t.throws(() => parseVerifierKey('PeterNeumann'), { code: 'ELOG' })

  const [a, b, c] = [newSigner('a.example'), newSigner('b.example'), newSigner('a.example')]
  const note = signNote('one\n\ntwo\n', [a, b])
  t.equal(parseNote(note).text, 'one\n\ntwo\n', 'the last empty line divides')
  t.same(signersOf(parseNote(note), [b, parseVerifierKey(a.verifierKey)]), [
    'a.example',
    'b.example',
  ])
  t.same(signersOf(parseNote(note), [c]), [], 'another key of the same name')
  const wrong = [
    'text\n',
    'text\n\n— a.example\n',
    'text\n\nno dash AAAAAAAA\n',
    'text\n\n— a.example AAA=\n',
    'text\u0007\n\n— a.example AAAAAAAA\n',
    note.slice(0, -1),
    'x'.repeat(200_000),
  ]
  for (const text of wrong) t.throws(() => parseNote(text), { code: 'ELOG' }, text.slice(0, 20))
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  t.throws(() => noteSigner('a.example', privateKey), { code: 'ELOG' }, 'not ed25519')
  t.throws(() => newSigner('a b'), { code: 'ELOG' })
})

t.test('checkpoints', async t => {
  const [log, witness] = [newSigner('log.example/audit'), newSigner('witness.example')]
  const head = { size: 20_852_163, root: leafHash('x') }
  const note = signCheckpoint(head, [log, witness])
  t.match(openCheckpoint(note, [log]), { origin: 'log.example/audit', ...head })
  t.same(openCheckpoint(note, [witness, log]).signers, ['log.example/audit', 'witness.example'])
  t.throws(() => openCheckpoint(note, [newSigner('log.example/audit')]), { code: 'ELOG' })
  const larger = note.replace('20852163', '20852164')
  t.throws(() => openCheckpoint(larger, [log]), { code: 'ELOG' })
  t.equal(parseCheckpoint(larger).size, 20_852_164, 'nothing is proven by reading')

  const root = Buffer.from(head.root).toString('base64')
  const wrong = [
    `log.example\n1\n`,
    `log.example\n01\n${root}\n`,
    `log.example\n-1\n${root}\n`,
    `log.example\n99999999999999999999\n${root}\n`,
    `log.example\n1\n${root.slice(4)}\n`,
    `log.example\n1\n${root}\n\nmore\n`,
    `\n1\n${root}\n`,
  ]
  for (const text of wrong) {
    try {
      parseCheckpoint(signNote(text, [log]))
      t.fail(text)
    } catch (error) {
      t.ok(isAttestryError(error) && error.code === 'ELOG', text)
    }
  }
})
