/** The audit as JSON, in a shape that docs/commands/audit.md describes and that only grows. */
import { version } from '../../version.ts'
import { coverageOf, summaryOf, type Report } from './result.ts'

/** Raised when a field goes away or changes its meaning, not when one is added. */
export const schemaVersion = 1

export const jsonReport = (report: Report): string => {
  const { file, format, formatVersion, judged, pastProxy, notJudged } = report
  const { outcome, exitCode, ...counts } = summaryOf(report)
  const document = {
    schemaVersion,
    attestry: version,
    at: report.at,
    milliseconds: report.milliseconds,
    lockfile: { file, format, formatVersion },
    registry: report.registry,
    policies: report.policies,
    policyDigest: report.policyDigest,
    outcome,
    exitCode,
    counts: {
      judged: judged.length,
      ...counts,
      pastProxy: pastProxy.length,
      notJudged: notJudged.length,
      filtered: report.filtered,
      fixed: report.fixed,
    },
    coverage: coverageOf(judged),
    packages: judged,
    pastProxy,
    notJudged,
    notes: report.notes,
  }
  return `${JSON.stringify(document, null, 2)}\n`
}
