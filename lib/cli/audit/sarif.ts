/**
 * The audit in SARIF 2.1.0 (OASIS standard, 27 March 2020), with what code scanning services ask
 * for besides: a rule for each code (3.49), a region with a line, and fingerprints that stay the
 * same while lines move (3.27.16).
 */
import { createHash } from 'node:crypto'
import { isAbsolute } from 'node:path'
import { pathToFileURL } from 'node:url'
import { version } from '../../version.ts'
import { codeText, findingsOf, type Finding, type FindingCode } from './findings.ts'
import { idOf, summaryOf, type Report } from './result.ts'

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

/** Below the root of the sources a relative reference (RFC 3986), as 3.4.3 wants it. */
const artifactOf = (file: string) =>
  isAbsolute(file)
    ? { uri: pathToFileURL(file).href }
    : { uri: file.split('/').map(encodeURIComponent).join('/'), uriBaseId: '%SRCROOT%' }

/** `IDENTITY_MISMATCH` → `IdentityMismatch`: 3.49.7 wants an identifier people can read. */
const ruleName = (code: string) =>
  code
    .toLowerCase()
    .split('_')
    .map(word => word.charAt(0).toUpperCase() + word.slice(1))
    .join('')

type Told = { readonly finding: Finding; readonly reason: Finding['reasons'][number] }

const ruleOf = (code: FindingCode) => ({
  id: code,
  name: ruleName(code),
  shortDescription: { text: codeText(code) },
  fullDescription: { text: codeText(code) },
  help: {
    text: `${codeText(code)} \`attestry why NAME@VERSION\` shows the rules tried, the evidence and the lines that would admit the package.`,
  },
  properties: { tags: ['security', 'supply-chain'] },
})

/** Column numbers are not told: a finding is about a whole entry of the lockfile. */
const locationOf = (file: string, line: number) => ({
  physicalLocation: {
    artifactLocation: artifactOf(file),
    region: { startLine: line },
  },
})

const resultOf = (file: string, { finding, reason }: Told, codes: readonly FindingCode[]) => {
  const { level, name, version: of, lines, title, hint } = finding
  const [line = 1, ...others] = lines
  return {
    ruleId: reason.code,
    ruleIndex: codes.indexOf(reason.code),
    level,
    message: { text: `${title}. ${reason.code}: ${reason.message}${hint ? ` (${hint})` : ''}` },
    locations: [locationOf(file, line)],
    ...(others.length > 0 && { relatedLocations: others.map(at => locationOf(file, at)) }),
    partialFingerprints: {
      'attestry/v1': sha256([reason.code, reason.field ?? '', name, of, file].join('\n')),
    },
    properties: {
      package: idOf(finding),
      ...(reason.field !== undefined && { field: reason.field }),
      ...(reason.wanted !== undefined && { wanted: reason.wanted }),
      ...(reason.found !== undefined && { found: reason.found }),
      ...(reason.npmCode !== undefined && { npmCode: reason.npmCode }),
    },
  }
}

export const sarifReport = (report: Report): string => {
  const told = findingsOf(report).flatMap(finding =>
    finding.reasons.map((reason): Told => ({ finding, reason })),
  )
  const codes = [...new Set(told.map(({ reason }) => reason.code))].sort()
  const { exitCode, outcome } = summaryOf(report)
  const document = {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'Attestry',
            version,
            semanticVersion: version,
            rules: codes.map(ruleOf),
          },
        },
        invocations: [
          {
            executionSuccessful: outcome !== 'could-not-tell',
            exitCode,
            endTimeUtc: report.at,
          },
        ],
        columnKind: 'utf16CodeUnits',
        artifacts: [{ location: artifactOf(report.file) }],
        results: told.map(one => resultOf(report.file, one, codes)),
      },
    ],
  }
  return `${JSON.stringify(document, null, 2)}\n`
}
