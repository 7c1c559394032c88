/**
 * What is done once for all bundles of an authority changes no answer: everything is verified by the
 * library alone and with what is remembered, and the verdicts, identities and errors are compared.
 */
import { X509Certificate } from '@sigstore/core'
import fc from 'fast-check'
import t from 'tap'
import { createPublicKey, KeyObject, sign } from 'node:crypto'
import {
  openBundleVerifier,
  parseBundle,
  verifyBundle,
  type BundleVerifier,
} from '../../lib/evidence/bundle.ts'
import { certificateFields } from '../../lib/evidence/certificate-fields.ts'
import { examineWith } from '../../lib/evidence/examine.ts'
import { openVerification, type Verification } from '../../lib/evidence/verification.ts'
import { assembleTrust, loadTrust } from '../../lib/trust/load-trust.ts'
import { parseRegistryKeys } from '../../lib/trust/registry-keys.ts'
import { checkTrustedRoot } from '../../lib/trust/trusted-root.ts'
import {
  conformanceCases,
  corpusInvalid,
  corpusPackages,
  noCorpus,
  requestOf,
} from '../support/corpus.ts'
import {
  localSigstore,
  type Bundle,
  type ProvenanceOptions,
} from '../support/local-sigstore.ts'
import { artifact, found, outcome, registry, requestFor } from './lab.ts'
import { authority, newKeys, openCertificateLab, x509, type Authority } from './authorities.ts'

const skip = noCorpus === false ? {} : { skip: noCorpus }

type Outcome = Readonly<Record<string, unknown>>

const told = (error: unknown): Outcome => {
  const { name, code, message, cause } = error as Error & { code?: string }
  return { name, code, message, ...(cause === undefined ? {} : { cause: told(cause) }) }
}

const outcomeOf = (
  verifier: BundleVerifier,
  bundle: unknown,
  artifact?: Uint8Array,
): Outcome => {
  try {
    const { certificate, signedAt } = verifyBundle(
      verifier,
      parseBundle(structuredClone(bundle)),
      artifact === undefined ? {} : { artifact },
    )
    if (certificate === undefined) return { signedAt }
    const read = () => {
      try {
        const { subject, extensions } = certificateFields(certificate)
        return { subject, extensions: [...extensions] }
      } catch (error) {
        return told(error)
      }
    }
    return { signedAt, der: certificate.der.toString('hex'), ...read() }
  } catch (error) {
    return told(error)
  }
}

type Pair = { readonly plain: BundleVerifier; readonly remembering: BundleVerifier }

const noKey = () => {
  throw new Error('no key')
}

/** Both ways, or what opening throws, which must be the same as well. */
const pairFor = (...roots: readonly object[]): Pair | undefined => {
  const open = (remember: boolean) => {
    try {
      return { verifier: openBundleVerifier(roots, noKey, { remember }), error: undefined }
    } catch (error) {
      return { verifier: undefined, error: told(error) }
    }
  }
  const [plain, remembering] = [open(false), open(true)]
  const [wanted, found] = [plain, remembering].map(({ error }) => JSON.stringify(error))
  if (found !== wanted) throw new Error(`opens differently: ${found}; alone: ${wanted}`)
  return plain.verifier && remembering.verifier
    ? { plain: plain.verifier, remembering: remembering.verifier }
    : undefined
}

const lab = openCertificateLab()
const top = await authority('CN=top,O=lab')
const middle = await authority('CN=middle,O=lab', { issuer: top, path: 0 })
const chain = (...parts: readonly Authority[]) => parts.map(({ der }) => der)
const honest = lab.trustedRoot([chain(middle, top)])

const day = 86_400_000
const at = Date.parse('2026-06-01T00:00:00Z')
const before = new Date(at - day)
const after = new Date(at + day)

/** X.509 name constraints: URIs of `elsewhere.example` only (RFC 5280 4.2.1.10). */
const constrained = () => {
  const der = (tag: number, content: Buffer) =>
    Buffer.concat([Buffer.from([tag, content.length]), content])
  const uri = der(0x86, Buffer.from('elsewhere.example'))
  return new x509.Extension('2.5.29.30', true, der(0x30, der(0xa0, der(0x30, uri))))
}

type Case = {
  readonly title: string
  readonly root: object
  readonly bundle: object
  /** What the library says; undefined where it looks at none of this. */
  readonly accepted: boolean
}

const cases = async (): Promise<readonly Case[]> => {
  const list: Case[] = []
  const add = async (
    title: string,
    accepted: boolean,
    root: object,
    ...[issuer, options]: Parameters<typeof lab.bundle>
  ) => {
    const bundle = await lab.bundle(issuer, { signedAt: at, ...options })
    list.push({ title, accepted, root, bundle })
  }
  const under = async (title: string, accepted: boolean, options: object) => {
    const issuer = await authority(`CN=middle,O=lab`, { issuer: top, ...options })
    await add(title, accepted, lab.trustedRoot([chain(issuer, top)]), issuer)
  }

  await add('honest', true, honest, middle)
  await add('honest, directly below the root', true, lab.trustedRoot([chain(top)]), top)
  await add('one proof of the certificate log twice', false, honest, middle, { scts: 2 })
  await add('no proof of the certificate log', false, honest, middle, { scts: 0 })
  await add('the leaf had ended', false, honest, middle, { notAfter: before })
  await add('the leaf had not begun', false, honest, middle, { notBefore: after })
  await under('the intermediate had ended', false, { notAfter: before })
  await under('the intermediate had not begun', false, { notBefore: after })
  await under('the intermediate is no authority', false, { ca: false })
  await under('the intermediate may not sign', false, { certSign: false })
  await under('the intermediate is for servers', true, {
    extra: [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth])],
  })
  await under('the intermediate is for other names', true, { extra: [constrained()] })

  const ended = await authority('CN=top,O=lab', { notAfter: before })
  const belowEnded = await authority('CN=middle,O=lab', { issuer: ended })
  await add(
    'the root had ended',
    false,
    lab.trustedRoot([chain(belowEnded, ended)]),
    belowEnded,
  )
  const retired = lab.trustedRoot([chain(middle, top)], {
    start: '2021-01-01T00:00:00Z',
    end: before.toISOString(),
  })
  await add('the authority was retired', false, retired, middle)

  const narrow = await authority('CN=narrow,O=lab', { issuer: top, path: 0 })
  const deep = await authority('CN=deep,O=lab', { issuer: narrow, path: 0 })
  await add('a path too long', false, lab.trustedRoot([chain(deep, narrow, top)]), deep)
  const wide = await authority('CN=wide,O=lab', { issuer: top, path: 1 })
  const below = await authority('CN=below,O=lab', { issuer: wide, path: 0 })
  await add('two intermediates', true, lab.trustedRoot([chain(below, wide, top)]), below)
  await add('an intermediate is missing', false, lab.trustedRoot([chain(below, top)]), below)

  const stranger = await authority('CN=top,O=lab')
  const strangers = await authority('CN=middle,O=lab', { issuer: stranger, path: 0 })
  await add('another authority of the same names', false, honest, strangers)
  await add(
    'both are trusted',
    true,
    lab.trustedRoot([chain(strangers, stranger), chain(middle, top)]),
    middle,
  )
  const alike = await authority('CN=middle,O=lab', { issuer: stranger, keyId: middle.keyId })
  await add('a look-alike of the intermediate', false, honest, alike)
  await add('a look-alike, sent along', false, honest, alike, { chain: [alike] })
  const selfMade = await authority('CN=middle,O=lab', { keyId: middle.keyId })
  await add('a look-alike that signed itself', false, honest, selfMade, { chain: [selfMade] })
  await add(
    'a look-alike is trusted elsewhere',
    true,
    lab.trustedRoot([chain(alike, stranger), chain(middle, top)]),
    middle,
  )
  await add('honest, with another chain sent along', true, honest, middle, {
    chain: [strangers],
  })
  await add('honest, with its chain sent along', true, honest, middle, { chain: [middle] })
  // the trusted chain itself does not hold
  await add(
    'the root did not sign the intermediate',
    false,
    lab.trustedRoot([chain(strangers, top)]),
    strangers,
  )
  await add('no root', false, lab.trustedRoot([chain(middle)]), middle)
  await add('no authority', false, lab.trustedRoot([]), middle)

  await add('the intermediate as leaf', false, honest, middle, { der: middle.der })
  await add('the root as leaf', false, honest, middle, { der: top.der })
  await add('a leaf that signed itself', false, honest, middle, { der: selfMade.der })
  const claims = [
    new x509.SubjectKeyIdentifierExtension(middle.keyId),
    new x509.BasicConstraintsExtension(true, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
  ]
  await add('a leaf that claims to be its issuer', true, honest, middle, { extensions: claims })
  const rootly = [new x509.SubjectKeyIdentifierExtension(top.keyId)]
  await add('a leaf that claims to be the root', true, honest, middle, { extensions: rootly })
  const servers = [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth])]
  await add('a leaf for servers', true, honest, middle, { extensions: servers })
  const flipped = (place: number) => (der: Buffer) => {
    const copy = Buffer.from(der)
    copy[copy.length - place] = (copy[copy.length - place] ?? 0) ^ 1
    return copy
  }
  await add('another signature on the leaf', false, honest, middle, { tamper: flipped(5) })
  await add('a proof for another certificate', false, honest, middle, { proof: flipped(5) })
  return list
}

const list = await cases()

t.test('every kind of hierarchy', async t => {
  // each verifier is used for all bundles, so that what one leaves behind meets the others
  const pairs = new Map(list.map(({ root }) => [root, pairFor(root) as Pair]))
  const seen = new Map<string, Outcome>()
  for (const round of [1, 2, 3]) {
    for (const { title, root, bundle, accepted } of round === 2 ? list.toReversed() : list) {
      const { plain, remembering } = pairs.get(root) as Pair
      const wanted = seen.get(title) ?? outcomeOf(plain, bundle)
      seen.set(title, wanted)
      t.equal('der' in wanted, accepted, `${title}: ${JSON.stringify(wanted.message)}`)
      t.strictSame(outcomeOf(remembering, bundle), wanted, `${title}, round ${round}`)
    }
  }
})

t.test('bundles under the roots of others', async t => {
  const roots = [...new Set(list.map(({ root }) => root))]
  let accepted = 0
  for (const [index, root] of roots.entries()) {
    const { plain, remembering } = pairFor(root) as Pair
    for (const { title, bundle } of list.slice(index % 3).filter((_, i) => i % 3 === 0)) {
      const wanted = outcomeOf(plain, bundle)
      if ('der' in wanted) accepted++
      t.strictSame(outcomeOf(remembering, bundle), wanted, title)
    }
  }
  t.ok(accepted >= 10, `${accepted} accepted`)
  const several = pairFor(...roots.slice(0, 3)) as Pair
  for (const { title, bundle } of list)
    t.strictSame(
      outcomeOf(several.remembering, bundle),
      outcomeOf(several.plain, bundle),
      title,
    )
})

type Flips = readonly { readonly at: number; readonly bit: number }[]

const flip = (der: Buffer, flips: Flips): Buffer => {
  const copy = Buffer.from(der)
  for (const { at: place, bit } of flips) {
    const index = place % copy.length
    copy[index] = (copy[index] ?? 0) ^ (1 << bit)
  }
  return copy
}
const someFlips = fc.array(fc.record({ at: fc.nat(4096), bit: fc.nat(7) }), {
  minLength: 1,
  maxLength: 3,
})

type Chained = {
  verificationMaterial: { x509CertificateChain: { certificates: { rawBytes: string }[] } }
}

/** The certificate again, with bits of what is signed turned and an honest signature over them. */
const issuedAnew = (der: Buffer, issuer: Authority, flips: Flips): Buffer => {
  const { root, tbsCertificate } = X509Certificate.parse(Buffer.from(der))
  const tbs = flip(tbsCertificate.toDER(), flips)
  const key = KeyObject.from(issuer.keys.privateKey)
  const signature = sign('sha384', tbs, key)
  const algorithm = root.subs[1]?.toDER() ?? Buffer.alloc(0)
  const bits = Buffer.concat([Buffer.from([3, signature.length + 1, 0]), signature])
  const content = Buffer.concat([tbs, algorithm, bits])
  const head = Buffer.from([0x30, 0x82, content.length >> 8, content.length & 255])
  return Buffer.concat([head, content])
}

t.test('certificates with bits turned', async t => {
  const good = (await lab.bundle(middle, { signedAt: at })) as Chained
  const { certificates } = good.verificationMaterial.x509CertificateChain
  const leaf = Buffer.from(certificates[0]?.rawBytes ?? '', 'base64')
  const withLeaf = (der: Buffer) => {
    const copy = structuredClone(good)
    copy.verificationMaterial.x509CertificateChain.certificates = [
      { rawBytes: der.toString('base64') },
    ]
    return copy
  }
  const { plain, remembering } = pairFor(honest) as Pair
  const errors = new Map<string, number>()
  const alike = (pair: Pair, bundle: unknown): boolean => {
    const wanted = outcomeOf(pair.plain, bundle)
    const kind = 'der' in wanted ? 'verified' : String(wanted.message)
    errors.set(kind, (errors.get(kind) ?? 0) + 1)
    const text = JSON.stringify(wanted)
    return [1, 2].every(() => JSON.stringify(outcomeOf(pair.remembering, bundle)) === text)
  }
  t.ok('der' in outcomeOf(remembering, withLeaf(leaf)))
  t.ok('der' in outcomeOf(remembering, withLeaf(issuedAnew(leaf, middle, []))))
  fc.assert(
    fc.property(someFlips, flips => alike({ plain, remembering }, withLeaf(flip(leaf, flips)))),
    { numRuns: 150 },
  )
  fc.assert(
    fc.property(someFlips, flips =>
      alike({ plain, remembering }, withLeaf(issuedAnew(leaf, middle, flips))),
    ),
    { numRuns: 200 },
  )
  t.ok('der' in outcomeOf(remembering, good), 'and nothing is left of them')
  fc.assert(
    fc.property(fc.constantFrom(0, 1), someFlips, fc.boolean(), (which, flips, anew) => {
      const parts = chain(middle, top).map((der, i) =>
        i !== which ? der : anew ? issuedAnew(der, top, flips) : flip(der, flips),
      )
      const pair = pairFor(lab.trustedRoot([parts]))
      return pair === undefined || alike(pair, good)
    }),
    { numRuns: 200 },
  )
  t.ok(errors.size >= 6, [...errors].map(String).join('; '))
  t.ok((errors.get('Failed to verify certificate chain') ?? 0) > 100)
  t.ok((errors.get('SCT verification failed') ?? 0) > 40)
})

t.test('two authorities take turns', async t => {
  const other = await authority('CN=middle,O=lab', { issuer: top, keys: await newKeys() })
  const { plain, remembering } = pairFor(
    lab.trustedRoot([chain(middle, top), chain(other, top)]),
  ) as Pair
  const bundles = await Promise.all(
    [middle, other, middle, other].map(issuer => lab.bundle(issuer, { signedAt: at })),
  )
  let verified = 0
  fc.assert(
    fc.property(fc.array(fc.nat(3), { minLength: 1, maxLength: 6 }), order =>
      order.every(i => {
        const outcome = outcomeOf(remembering, bundles[i])
        if ('der' in outcome) verified++
        return (
          'der' in outcome &&
          JSON.stringify(outcome) === JSON.stringify(outcomeOf(plain, bundles[i]))
        )
      }),
    ),
    { numRuns: 20 },
  )
  t.ok(verified >= 20)
})

t.test('timestamps, both logs and keys of a whole sigstore', async t => {
  const sigstore = await localSigstore()
  t.teardown(() => sigstore.close())
  const [plain, remembering] = [false, true].map(remember =>
    openVerification(
      assembleTrust({
        roots: [checkTrustedRoot(sigstore.trustedRoot, 'local')],
        registryKeys: parseRegistryKeys(sigstore.registryKeys(), 'local', registry),
        sources: [],
      }),
      undefined,
      { remember },
    ),
  ) as [Verification, Verification]
  const unstamped = (bundle: Bundle) => {
    const { timestampVerificationData } = bundle.verificationMaterial
    const [stamp] = (
      timestampVerificationData as { rfc3161Timestamps: { signedTimestamp: string }[] }
    ).rfc3161Timestamps
    if (stamp === undefined) throw new Error('no stamp')
    const bytes = Buffer.from(stamp.signedTimestamp, 'base64')
    stamp.signedTimestamp = flip(bytes, [{ at: bytes.length - 5, bit: 0 }]).toString('base64')
  }
  const forms: readonly (readonly [string, Partial<ProvenanceOptions>])[] = [
    ['verified', {}],
    ['verified', { timestamp: true }],
    ['verified', { entry: 'dsse-v2' }],
    ['verified', { bundle: '0.1', timestamp: true }],
    ['INVALID_ATTESTATION', { timestamp: true, tamper: { bundle: unstamped } }],
    ['INVALID_ATTESTATION', { entry: 'dsse-v2', timestamp: false }],
    ['INVALID_ATTESTATION', { tamper: { sct: false } }],
  ]
  for (const [wanted, options] of forms) {
    const provenance = await sigstore.attestProvenance({ ...artifact, ...options })
    const publish = await sigstore.attestPublish({ ...artifact, registry })
    const request = requestFor(found(provenance, publish))
    const alone = examineWith(plain, request)
    t.equal(outcome(alone.provenance), wanted)
    t.equal(alone.publishAttestation.state, 'verified')
    for (const _ of [1, 2]) t.strictSame(examineWith(remembering, request), alone)
  }
})

t.test('every package of the corpus', skip, async t => {
  const trust = await loadTrust({ roots: ['public-good'], registryKeys: 'bundled' })
  const plain = openVerification(trust, undefined, { remember: false })
  const remembering = openVerification(trust)
  const states = new Set<string>()
  for (const round of [1, 2])
    for (const entry of [...corpusPackages(), ...corpusInvalid()]) {
      const request = requestOf(entry)
      const now = Date.now()
      const wanted = examineWith(plain, request, now)
      states.add(wanted.provenance.state)
      t.strictSame(examineWith(remembering, request, now), wanted, `${entry.title} ${round}`)
    }
  t.strictSame([...states].toSorted(), ['absent', 'invalid', 'verified'])
})

t.test("sigstore's conformance suite, one verifier for all cases of a root", skip, async t => {
  const list = conformanceCases()
  const pairs = new Map<string, Pair>()
  for (const round of [1, 2])
    for (const { title, expect, bundle, artifact, root, key } of list) {
      const name = `${root ?? ''} ${key ?? ''}`
      const open = async (remember: boolean) => {
        const trust = await loadTrust({
          roots: [root === undefined ? 'public-good' : { file: root }],
          registryKeys: 'none',
        })
        const find = (hint: string) => {
          if (key === undefined) throw new Error(`no key ${hint}`)
          return { publicKey: createPublicKey(key), validFor: () => true }
        }
        return openBundleVerifier(trust.roots, find, { remember })
      }
      const opened = async () => ({ plain: await open(false), remembering: await open(true) })
      const pair = pairs.get(name) ?? (await opened().catch(() => undefined))
      // material that is refused before any bundle is
      if (pair === undefined) {
        t.equal(expect, 'fail', title)
        continue
      }
      pairs.set(name, pair)
      let parsed: unknown
      try {
        parsed = JSON.parse(bundle)
      } catch {
        t.equal(expect, 'fail', title)
        continue
      }
      const wanted = outcomeOf(pair.plain, parsed, artifact)
      t.equal('signedAt' in wanted, expect === 'pass', title)
      t.strictSame(outcomeOf(pair.remembering, parsed, artifact), wanted, `${title} ${round}`)
    }
})
