/** The part of the why page that tells who published a package over its versions. */
import type { Timeline } from '../gate/timeline.ts'
import { shownRuns, type TimelineRun } from '../gate/timeline-runs.ts'
import { html, type Html } from './html.ts'

/** Runs shown at most, beside the one this version is in; and refused versions named in a run. */
const RUNS = 30
const NAMED = 10

const GAPS = {
  verified: ['Provenance', 'good'],
  absent: ['No provenance', ''],
  invalid: ['Provenance that does not verify', 'bad'],
  unavailable: ['Provenance that could not be fetched', 'warn'],
  unknown: ['Claims provenance; nobody has looked yet', ''],
} as const

const publisher = ({ publisher: who, provenance }: TimelineRun): Html => {
  const [text, style] = GAPS[provenance]
  if (!who) return html`<span class="${style}">${text}</span>`
  const { issuer, subject, repository, repositoryId, workflow } = who
  const id = repositoryId === undefined ? undefined : html` <small>(id ${repositoryId})</small>`
  const path = workflow === undefined ? undefined : html`<code>${workflow}</code>, `
  return html`<code>${repository ?? subject}</code>${id}<br /><small>${path}${issuer}</small>`
}

const refusals = ({ versions }: TimelineRun): Html | undefined => {
  const refused = versions.filter(version => version.refused)
  if (refused.length === 0) return undefined
  const named = refused.slice(-NAMED).map(({ version, refused: codes = [] }, i) => {
    const comma = i === 0 ? undefined : ', '
    return html`${comma}${version} <small>${codes.join(' ')}</small>`
  })
  const more =
    refused.length > NAMED ? ` and ${refused.length - NAMED} before these` : undefined
  return html`<br /><span class="bad">Refused: ${named}${more}</span>`
}

const row = (run: TimelineRun, version: string): Html => {
  const { since, until, versions } = run
  const [from, to] = [0, -1].map(i => versions.at(i)?.publishedAt?.slice(0, 10))
  const many = versions.length > 1
  const last = many
    ? html` to ${until}<br /><small>${versions.length} versions</small>`
    : undefined
  const here = versions.some(v => v.version === version) ? 'here' : ''
  return html`<tr class="${here}">
    <td>${since}${last}</td>
    <td class="key">${from}${from === to ? undefined : html` to ${to}`}</td>
    <td>${publisher(run)}${refusals(run)}</td>
  </tr>`
}

/** `version`: the one the page is about; its row stands out. */
export const timelineSection = ({ runs, unknown }: Timeline, version: string): Html => {
  const rows = shownRuns(runs, version, RUNS).map(item =>
    item.run
      ? row(item.run, version)
      : html`<tr>
          <td colspan="3">
            <small
              >${item.versions} versions before, by turns of ${item.runs} publishers or
              none</small
            >
          </td>
        </tr>`,
  )
  const left =
    unknown > 0
      ? html`<p><small>Not looked at yet: ${unknown} that claim provenance.</small></p>`
      : undefined
  return html`<h2>Publishers, oldest first</h2>
    <table>
      <tr>
        <th scope="col">Versions</th>
        <th scope="col" class="key">Published</th>
        <th scope="col">By whom</th>
      </tr>
      ${rows}
    </table>
    ${left}`
}
