/** The publishers of a package over its versions, as branches of a tree. */
import type { Timeline } from '../../gate/timeline.ts'
import { shownRuns, type TimelineRun } from '../../gate/timeline-runs.ts'
import { counted } from '../audit/paint.ts'
import { bold, dim, markOfState, markSpan } from './look.ts'
import { branch, type Branch, type Look, type Span } from './tree.ts'

/** Runs shown at most, beside the one of the version asked about. */
const RUNS = 12
/** Refused versions named one by one in a run. */
const NAMED = 5

const day = (time: string | undefined) => time?.slice(0, 10)

const GAPS = {
  absent: 'no provenance',
  invalid: 'provenance that does not verify',
  unavailable: 'provenance that could not be fetched',
  unknown: 'claims provenance; nobody has looked yet',
  verified: 'provenance',
} as const

/** `1.0.0 to 1.4.0, 12 versions, 2024-01-02 to 2024-05-06` */
const rangeOf = ({ since, until, versions }: TimelineRun): readonly Span[] => {
  const [from, to] = [day(versions.at(0)?.publishedAt), day(versions.at(-1)?.publishedAt)]
  const when = from === to || to === undefined ? from : `${from ?? '?'} to ${to}`
  const many = versions.length > 1
  return [
    bold(many ? `${since} to ${until},` : `${since},`),
    ...(many ? [dim(`${counted(versions.length, 'version')},`)] : []),
    dim(when ?? 'no date'),
  ]
}

const whoOf = ({ provenance, publisher }: TimelineRun): readonly Branch[] => {
  if (!publisher) return [branch(GAPS[provenance])]
  const { issuer, subject, repository, repositoryId, workflow } = publisher
  const id = repositoryId === undefined ? [] : [dim(`(id ${repositoryId})`)]
  return [
    branch([
      dim(repository === undefined ? 'subject:' : 'repository:'),
      repository ?? subject,
      ...id,
    ]),
    ...(workflow === undefined ? [] : [branch([dim('workflow:'), workflow])]),
    branch([dim('issuer:'), issuer]),
  ]
}

const refusedOf = ({ versions }: TimelineRun): readonly Branch[] => {
  const refused = versions.filter(version => version.refused)
  const named = refused
    .slice(-NAMED)
    .map(({ version, refused: codes }) =>
      branch([{ text: `refused: ${version}`, style: 'red' }, (codes ?? []).join(', ')]),
    )
  const more = refused.length - named.length
  return more > 0
    ? [branch({ text: `refused: ${more} more before these`, style: 'red' }), ...named]
    : named
}

export const timelineBranch = (timeline: Timeline, version: string, look: Look): Branch => {
  const { runs, unknown } = timeline
  const shown = shownRuns(runs, version, RUNS).map(item => {
    if (!item.run) {
      const left = `${counted(item.runs, 'earlier run')}, ${counted(item.versions, 'version')}`
      return branch(dim(left))
    }
    const { run } = item
    const here = run.versions.some(v => v.version === version) ? [bold(`<- ${version}`)] : []
    const mark = markSpan(markOfState(run.provenance), look)
    return branch([mark, ...rangeOf(run), ...here], [...whoOf(run), ...refusedOf(run)])
  })
  const left =
    unknown > 0
      ? [
          branch(
            dim(
              `${counted(unknown, 'version')} with claimed provenance not looked at; ask again for more`,
            ),
          ),
        ]
      : []
  return branch(bold('Publishers, oldest first'), [...shown, ...left])
}
