/** A file of cases → cases that can be judged. Every complaint has its file, line and column. */
import { parse } from 'semver'
import { complaintsError, readDocument, type Finding, type Place } from '../config/document.ts'
import { didYouMean } from '../config/nearest.ts'
import type { Decision, JudgeInput, PackageId, ReasonCode, Verdict } from '../types.ts'
import { signerOf, type Signers } from './case-signer.ts'
import { inputOf } from './case-input.ts'
import { casesSchema, type CaseDocument, type CasesDocument } from './case-schema.ts'
import { instant, parseDuration } from './duration.ts'

export type Expectation = {
  readonly decision: Decision
  readonly reasons?: readonly ReasonCode[]
  readonly rule?: string
}

export type PolicyCase = {
  readonly name: string
  readonly package: PackageId
  /** Where `expect` stands. */
  readonly place: Place
  readonly now: Date
  /** Given facts; absent for a case that is looked up. */
  readonly input?: JudgeInput
  readonly expect: Expectation
}

export type PolicyCases = {
  /** Paths as written, relative to the file; absent where the file does not say. */
  readonly policies?: readonly string[]
  readonly cases: readonly PolicyCase[]
}

type Path = readonly PropertyKey[]
type Complain = (path: Path, message: string) => void

/** An age counts back from `now`; a day begins at midnight, UTC. */
const timeOf = (text: string, now: Date, path: Path, complain: Complain): string => {
  const age = parseDuration(text)
  const at =
    age === undefined ? instant(text) : instant(new Date(now.getTime() - age).toISOString())
  const day = text.slice(0, 10)
  const real =
    age !== undefined ||
    (!Number.isNaN(Date.parse(day)) &&
      new Date(`${day}T00:00:00Z`).toISOString().slice(0, 10) === day)
  if (at !== undefined && real) return new Date(at).toISOString()
  complain(path, `wanted a time that exists; found ${JSON.stringify(text)}`)
  return now.toISOString()
}

const packageOf = (text: string, path: Path, complain: Complain): PackageId => {
  const at = text.lastIndexOf('@')
  const [name, version] = at > 0 ? [text.slice(0, at), text.slice(at + 1)] : [text, '']
  if (parse(version)?.raw !== version)
    complain(
      path,
      `package: wanted a name and a version as in name@1.2.3; found ${JSON.stringify(text)}`,
    )
  return { name, version }
}

const given = ['upstream', 'published', 'facts', 'history'] as const

const caseOf = (
  said: CaseDocument,
  at: Path,
  file: {
    readonly now: Date
    readonly signers: Signers
    readonly place: (path: Path) => Place
    readonly complain: Complain
  },
): PolicyCase => {
  const { complain } = file
  const now =
    said.now === undefined
      ? file.now
      : new Date(timeOf(said.now, file.now, [...at, 'now'], complain))
  const id = packageOf(said.package, [...at, 'package'], complain)
  const expect: Expectation =
    typeof said.expect === 'string' ? { decision: said.expect } : withoutUndefined(said.expect)
  for (const key of said.live ? given : [])
    if (said[key] !== undefined)
      complain([...at, key], `${key}: a case with live takes what the upstream has`)
  const common = {
    name: said.name ?? said.package,
    package: id,
    place: file.place([...at, 'expect']),
    now,
    expect,
  }
  if (said.live) return common
  const signer = (name: string, path: Path) => {
    const known = file.signers[name]
    if (known === undefined)
      complain(
        path,
        `there is no signer ${JSON.stringify(name)}${didYouMean(name, Object.keys(file.signers))}`,
      )
    return known
  }
  const input = inputOf(said, id, {
    at,
    now,
    signer,
    inPlace: (written, path) => signerOf(written, path, complain),
    time: (text, path) => timeOf(text, now, path, complain),
    complain,
  })
  return { ...common, input }
}

const withoutUndefined = (said: Exclude<CaseDocument['expect'], string>): Expectation => ({
  decision: said.decision,
  ...(said.reasons && { reasons: said.reasons }),
  ...(said.rule !== undefined && { rule: said.rule }),
})

/** Names that mean a state where a signer is wanted. */
const reserved = new Set(['verified', 'absent', 'invalid', 'unavailable', 'claimed'])

const signersOf = ({ signers = {} }: CasesDocument, complain: Complain): Signers =>
  Object.fromEntries(
    Object.entries(signers).map(([name, signer]) => {
      const path = ['signers', name]
      if (reserved.has(name))
        complain(path, `${name} has a meaning of its own; choose another name`)
      return [name, signerOf(signer, path, complain)]
    }),
  )

/** Throws EPOLICY with one line for each complaint, and nothing else whatever the text is. */
export const readCases = (
  text: string,
  { file, now: present }: { readonly file: string; readonly now: Date },
): PolicyCases => {
  const { value, place } = readDocument(text, { file, schema: casesSchema, code: 'EPOLICY' })
  const findings: Finding[] = []
  const complain: Complain = (path, message) => findings.push({ path, message })
  const now =
    value.now === undefined ? present : new Date(timeOf(value.now, present, ['now'], complain))
  const signers = signersOf(value, complain)
  const cases = value.cases.map((said, i) =>
    caseOf(said, ['cases', i], { now, signers, place, complain }),
  )
  if (findings.length > 0)
    throw complaintsError(
      'EPOLICY',
      findings
        .map(({ path, message }) => ({ ...place(path), message }))
        .sort((a, b) => a.line - b.line || a.column - b.column),
    )
  return { ...(value.policies && { policies: value.policies }), cases }
}

/** What is other than expected, one phrase each; empty when the case holds. */
export const misses = (expect: Expectation, verdict: Verdict): readonly string[] => {
  const codes = [...new Set(verdict.reasons.map(({ code }) => code))]
  const wanted = expect.reasons === undefined ? undefined : [...new Set(expect.reasons)]
  const list = (all: readonly string[]) => (all.length === 0 ? 'no reasons' : all.join(', '))
  const rules = verdict.layers.map(({ rule }) => rule)
  return [
    ...(expect.decision === verdict.decision
      ? []
      : [`wanted ${expect.decision}, found ${verdict.decision}`]),
    ...(wanted === undefined || wanted.toSorted().join() === codes.toSorted().join()
      ? []
      : [`wanted ${list(wanted)}, found ${list(codes)}`]),
    ...(expect.rule === undefined || rules.includes(expect.rule)
      ? []
      : [`wanted rule ${expect.rule}, found ${rules.join(', ')}`]),
  ]
}
