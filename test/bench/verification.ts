/**
 * Provenance bundles verified in this one thread: by sigstore-js with everything it allows to keep
 * (one Verifier for all bundles), by Attestry's bundle verification, and by the whole examination.
 */
import { bundleFromJSON } from '@sigstore/bundle'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify'
import { openBundleVerifier, parseBundle, verifyBundle } from '../../lib/evidence/bundle.ts'
import { examineWith } from '../../lib/evidence/examine.ts'
import type { ExamineRequest } from '../../lib/evidence/examiner.ts'
import { openVerification } from '../../lib/evidence/verification.ts'
import { assembleTrust, loadTrust } from '../../lib/trust/load-trust.ts'
import { parseRegistryKeys } from '../../lib/trust/registry-keys.ts'
import { checkTrustedRoot } from '../../lib/trust/trusted-root.ts'
import { npmRegistry } from '../../lib/upstream/default-registry.ts'
import type { TrustMaterial } from '../../lib/types.ts'
import { claimsOf, corpusPackages, noCorpus, requestOf } from '../support/corpus.ts'
import { integrityOf, localSigstore } from '../support/local-sigstore.ts'
import { quiet, watchOthers } from './machine.ts'
import { median, ratios, show, showSpread } from './statistics.ts'
import type { Bench, SuiteResult } from './suite.ts'

type Signed = { readonly trust: TrustMaterial; readonly requests: readonly ExamineRequest[] }

const recorded = async (): Promise<Signed> => ({
  trust: await loadTrust({ roots: ['public-good'], registryKeys: 'bundled' }),
  requests: corpusPackages()
    .map(entry => requestOf(entry))
    .filter(({ attestations }) => attestations.kind === 'found'),
})

const madeHere = async (): Promise<Signed> => {
  const sigstore = await localSigstore()
  const requests: ExamineRequest[] = []
  for (let i = 0; i < 12; i++) {
    const integrity = integrityOf(Buffer.from(`${i}`))
    const id = { name: `package-${i}`, version: '1.0.0' }
    const registry = new URL(npmRegistry).origin
    const attestations = [
      await sigstore.attestPublish({ ...id, integrity, registry }),
      await sigstore.attestProvenance({ ...id, integrity }),
    ]
    const signatures = [sigstore.signRegistry(id.name, id.version, integrity)]
    requests.push({
      package: id,
      integrity,
      claims: claimsOf({ ...id, integrity, signatures }),
      attestations: { kind: 'found', body: Buffer.from(JSON.stringify({ attestations })) },
    })
  }
  const trust = assembleTrust({
    roots: [checkTrustedRoot(sigstore.trustedRoot, 'local')],
    registryKeys: parseRegistryKeys(sigstore.registryKeys(), 'local', npmRegistry),
    sources: [],
  })
  await sigstore.close()
  return { trust, requests }
}

const bundlesIn = ({ attestations }: ExamineRequest): readonly unknown[] => {
  if (attestations.kind !== 'found') return []
  const document = JSON.parse(Buffer.from(attestations.body).toString()) as {
    attestations: { predicateType: string; bundle: unknown }[]
  }
  return document.attestations
    .filter(({ predicateType }) => predicateType.startsWith('https://slsa.dev/provenance/'))
    .map(({ bundle }) => bundle)
}

const noKey = () => {
  throw new Error('provenance is not signed with a key')
}

export const verificationSuite = async (bench: Bench): Promise<SuiteResult> => {
  const { trust, requests: all } = await (noCorpus === false ? recorded() : madeHere())
  const verification = openVerification(trust)
  const requests = all.filter(
    request => examineWith(verification, request).provenance.state === 'verified',
  )
  const bundles = requests.flatMap(bundlesIn)
  const [root] = trust.roots
  if (root === undefined || bundles.length === 0) throw new Error('nothing to verify')
  const alone = new Verifier(toTrustMaterial(TrustedRoot.fromJSON(root), noKey), {
    tlogThreshold: 1,
    ctlogThreshold: 1,
    timestampThreshold: 1,
  })
  const ours = openBundleVerifier([root], noKey)
  const plain = openVerification(trust, undefined, { remember: false })
  const ways: Readonly<Record<string, () => void>> = {
    'sigstore-js, one Verifier': () => {
      for (const bundle of bundles) alone.verify(toSignedEntity(bundleFromJSON(bundle)))
    },
    'Attestry, bundle': () => {
      for (const bundle of bundles) verifyBundle(ours, parseBundle(bundle))
    },
    'examination, without remembering': () => {
      for (const request of requests) examineWith(plain, request)
    },
    'Attestry, whole examination': () => {
      for (const request of requests) examineWith(verification, request)
    },
  }
  const names = Object.keys(ways)
  const [base = ''] = names
  const times = new Map<string, number[]>()
  const shares: number[] = []
  // the first rounds warm the code up
  for (let round = -3; round < bench.rounds * 8; round++)
    for (const [name, work] of Object.entries(ways)) {
      if (round % 8 === 0) await quiet(bench.patience)
      const others = watchOthers()
      const before = process.cpuUsage()
      work()
      const { user, system } = process.cpuUsage(before)
      if (round < 0) continue
      shares.push(others())
      const each = (user + system) / 1000 / bundles.length
      times.set(name, [...(times.get(name) ?? []), each])
    }
  const rows = names.map(name => {
    const each = times.get(name) ?? []
    const perSecond = each.map(ms => 1000 / ms)
    const baseline = (times.get(base) ?? []).map(ms => 1000 / ms)
    const ratio = name === base ? '1' : showSpread(ratios(perSecond, baseline))
    return [name, show(median(each)), show(median(perSecond)), ratio]
  })
  for (const row of rows) bench.say(`verification: ${row.join(' ')}`)
  const source = noCorpus === false ? 'recorded' : 'made here'
  return {
    sections: [
      {
        title: 'Verification of provenance',
        text: `${bundles.length} bundles (${source}) of one certificate authority, again and again in one thread. The whole examination also verifies the registry's signature and publish attestation, reads the identity and compares it with the predicate. Other work took ${show(median(shares) * 100)} % of the machine (median).`,
        columns: ['what', 'CPU ms/bundle', 'bundles/s of one core', 'ratio (spread)'],
        rows,
      },
    ],
  }
}
