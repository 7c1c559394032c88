/**
 * What is refused, as advisories, so that the audit commands of package managers show it. Only what
 * is known or can be learnt in a moment: judging by claims and remembered facts, no cryptography.
 */
import { createHash } from 'node:crypto'
import { isAttestryError } from '../errors.ts'
import type { ReasonCode, Verdict } from '../types.ts'
import type { Standing } from './standing.ts'
import type { PackageIndex } from './package-index.ts'
import type { Packages } from './packages.ts'
import { tellingReasons } from './reasons.ts'
import { whyUrl } from './representation.ts'

/** Names and the versions of them somebody has. */
export type Inventory = ReadonlyMap<string, readonly string[]>

/** As the bulk endpoint gives them. */
export type Advisory = {
  /** Within 31 bits, above any that npm has given; the same for the same finding, always. */
  readonly id: number
  readonly url: string
  readonly title: string
  readonly severity: 'critical' | 'high'
  /** Exactly one version. */
  readonly vulnerable_versions: string
  readonly cwe: readonly string[]
  readonly cvss: { readonly score: number; readonly vectorString: null }
}

export type Findings = {
  readonly advisories: ReadonlyMap<string, readonly Advisory[]>
  /** Names nobody could look at in time. */
  readonly unlooked: number
}

/** Something is forged, or not what it says it is. */
const FORGED: ReadonlySet<ReasonCode> = new Set([
  'INVALID_SIGNATURE',
  'INVALID_ATTESTATION',
  'WRONG_SUBJECT',
  'INTEGRITY_MISMATCH',
  'MANIFEST_MISMATCH',
  'OUT_OF_NAMESPACE',
])

const FIRST_ID = 1_500_000_000
const IDS = 600_000_000

const idOf = (text: string): number =>
  FIRST_ID + (createHash('sha256').update(text).digest().readUInt32BE(0) % IDS)

const MAX_TITLE = 300

export const advisoryOf = (verdict: Verdict, publicUrl: string): Advisory => {
  const { name, version } = verdict.package
  const reasons = tellingReasons(verdict)
  const first = reasons.find(({ code }) => FORGED.has(code)) ?? reasons[0]
  const code = first?.code ?? 'DENIED'
  const title = `${code}: ${first?.message ?? 'Refused by policy.'}`
  return {
    id: idOf(`${name}@${version} ${code}`),
    url: whyUrl({ publicUrl }, name, version),
    title: title.length > MAX_TITLE ? `${title.slice(0, MAX_TITLE - 3)}...` : title,
    severity: FORGED.has(code) ? 'critical' : 'high',
    vulnerable_versions: version,
    cwe: FORGED.has(code) ? ['CWE-345'] : [],
    cvss: { score: 0, vectorString: null },
  }
}

export type FindingsOptions = {
  readonly packages: Packages
  readonly judged: (index: PackageIndex) => Promise<Standing>
  readonly publicUrl: string
  /** Milliseconds for names the store does not know; 0 asks nobody. Default 3 s. */
  readonly patience?: number
}

/** Names looked at side by side. */
const SIDE_BY_SIDE = 8

export const openFindings = (options: FindingsOptions) => {
  const { packages, judged, publicUrl, patience = 3_000 } = options

  /** What the store does not have, from the upstream. */
  const look = async (name: string, until: number): Promise<PackageIndex | undefined> => {
    const left = until - performance.now()
    if (left <= 0) return undefined
    const late = new Promise<undefined>(resolve => {
      setTimeout(resolve, left, undefined).unref()
    })
    // the one that is late goes on, and is known the next time
    return Promise.race([packages.get(name), late])
  }

  return async (asked: Inventory): Promise<Findings> => {
    const advisories = new Map<string, readonly Advisory[]>()
    const unlooked: string[] = []

    /** Looks at the names, some side by side; what cannot be looked at stays in `unlooked`. */
    const each = async (
      names: readonly string[],
      find: (name: string) => Promise<PackageIndex | undefined>,
    ) => {
      const waiting = names.toReversed()
      const work = async () => {
        for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
          try {
            const index = await find(name)
            if (!index) {
              unlooked.push(name)
              continue
            }
            const { refused } = await judged(index)
            const verdicts = (asked.get(name) ?? []).flatMap(
              version => refused.get(version) ?? [],
            )
            if (verdicts.length > 0)
              advisories.set(
                name,
                verdicts.map(verdict => advisoryOf(verdict, publicUrl)),
              )
          } catch (error) {
            if (!isAttestryError(error)) throw error
            // no such package is an answer; anything else is not
            if (error.code !== 'ENOTFOUND') unlooked.push(name)
          }
        }
      }
      await Promise.all(Array.from({ length: SIDE_BY_SIDE }, work))
    }

    await each([...asked.keys()], packages.known)
    const until = performance.now() + patience
    await each(unlooked.splice(0), name => look(name, until))
    return { advisories, unlooked: unlooked.length }
  }
}
