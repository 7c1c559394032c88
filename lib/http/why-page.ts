/** The page behind the link of every refusal: what was decided, why, and what would change it. */
import type { Why } from '../gate/assessments.ts'
import type { Timeline } from '../gate/timeline.ts'
import { html, type Html } from './html.ts'
import { WHY_STYLE } from './why-style.ts'
import { timelineSection } from './why-timeline.ts'

type Layer = Why['layers'][number]
type Check = Layer['alternatives'][number]['checks'][number]
type Identity = NonNullable<Check['identities']>[number]

const HEADLINE = {
  allow: 'Served: every policy in force allows it.',
  refuse: 'Refused by policy.',
  unavailable: 'Not served for now: it could not be checked. This is no finding against it.',
} as const

const NAMES: Readonly<Record<string, string>> = {
  registrySignature: 'Registry signature',
  publishAttestation: 'Publish attestation',
  provenance: 'Provenance',
  manifest: 'Manifest in the tarball',
  bytes: 'Bytes',
  vouch: 'Vouch',
  signature: 'Signature',
  continuity: 'Continuity',
  minimumAge: 'Minimum age',
}

const STATE_STYLE: Readonly<Record<string, string>> = {
  verified: 'good',
  invalid: 'bad',
  unavailable: 'warn',
}

/** The first row; narrow screens hide it and name each cell instead (`data-of`). */
const head = (...columns: readonly string[]): Html =>
  html`<tr>
    ${columns.map(column => html`<th scope="col">${column}</th>`)}
  </tr>`

const code = (text: string | undefined): Html | undefined =>
  text === undefined ? undefined : html`<code>${text}</code>`

const reasonsSection = ({ reasons }: Why): Html | undefined =>
  reasons.length === 0
    ? undefined
    : html`<h2>Reasons</h2>
        <table>
          ${head('Code', 'What', 'Wanted', 'Found')}
          ${reasons.map(
            ({ code: id, message, field, wanted, found }) =>
              html`<tr>
                <td class="key">${code(id)}${field && html`<br />${field}`}</td>
                <td>${message}</td>
                <td data-of="Wanted">${code(wanted)}</td>
                <td data-of="Found">${code(found)}</td>
              </tr>`,
          )}
        </table>`

const vouchPart = ({ vouch, addTo }: Why): Html | undefined =>
  vouch &&
  html`<h3>Or: somebody vouches for it</h3>
    <p>${vouch.advice}</p>
    ${
      vouch.lines === ''
        ? undefined
        : html`<p>Under <code>rules:</code> of ${addTo.join(', ')}, before the others:</p>
            <pre>${vouch.lines}</pre>`
    }
    <pre>${vouch.command}</pre>`

const suggestionSection = (why: Why) => {
  const { lines, addTo, advice, decision, reasons } = why
  if (decision === 'allow' && reasons.length === 0) return undefined
  const shown =
    lines === ''
      ? undefined
      : html`<p>Under <code>rules:</code> of ${addTo.join(', ')}, before the others:</p>
          <pre>${lines}</pre>`
  return html`<h2>What would admit it</h2>
    <p>${advice}</p>
    ${shown} ${vouchPart(why)}`
}

const evidenceSection = ({ evidence }: Why): Html =>
  html`<h2>Evidence</h2>
    <table>
      ${head('Claim', 'State', 'Detail')}
      ${evidence.facts.map(
        ({ fact, state, detail }) =>
          html`<tr>
            <th scope="row">${NAMES[fact] ?? fact}</th>
            <td class="${STATE_STYLE[state]}">${state}</td>
            <td>${detail}</td>
          </tr>`,
      )}
    </table>
    <p>For the bytes <code>${evidence.integrity}</code></p>
    ${
      evidence.identity &&
      html`<h3>Who signed, by the certificate</h3>
        <table>
          ${Object.entries(evidence.identity).map(
            ([field, value]) =>
              html`<tr>
                <th scope="row">${field}</th>
                <td><code>${value}</code></td>
              </tr>`,
          )}
        </table>`
    }`

const isSame = (a: Identity, b: Identity | undefined) =>
  a.name === b?.name && a.line === b?.line

const identityItem = (identity: Identity, { nearestMiss, policy }: Layer): Html => {
  const { name, line, matched, fields } = identity
  const nearest = !matched && nearestMiss !== undefined && isSame(identity, nearestMiss)
  const differing = fields.filter(field => !field.ok)
  return html`<li>
    <b>${name ?? 'an identity written in the rule'}</b
    >${line && html` (${policy}:${line})`}${nearest ? ', the nearest miss' : undefined}${matched ? ': matches' : undefined}
    ${differing.map(
      ({ field, wanted, found }) =>
        html`<br />${field}: wanted ${code(wanted)}, found ${code(found ?? 'nothing')}`,
    )}
  </li>`
}

const checkRow = (check: Check, layer: Layer): Html => {
  const { what, wanted, found, ok, identities } = check
  const list =
    identities &&
    html`<ul>
      ${identities.map(tried => identityItem(tried, layer))}
    </ul>`
  return html`<tr>
    <th scope="row">${NAMES[what] ?? what}</th>
    <td data-of="Wanted">${wanted}</td>
    <td data-of="Found">${found}${list}</td>
    <td class="key ${ok ? 'good' : 'bad'}">${ok ? 'ok' : 'not met'}</td>
  </tr>`
}

const waiverLine = ({ waiver }: Layer): Html | undefined =>
  waiver &&
  html`<p>
    Waived:
    ${waiver.reason}${waiver.by && html`, by ${waiver.by}`}${waiver.until && html`, until ${waiver.until}`}.
  </p>`

const alternativeSection = (layer: Layer, at: number): Html => {
  const { alternatives, age } = layer
  const { checks = [], counts, ok } = alternatives[at] ?? {}
  const nearest =
    counts === true ? (ok === true ? ', which holds' : ', which comes nearest') : ''
  const title =
    alternatives.length === 1 ? 'Wanted and found' : `Alternative ${at + 1}${nearest}`
  return html`<h3>${title}</h3>
    <table>
      ${head('Of', 'Wanted', 'Found', '')}
      ${[...checks, ...(age ? [age] : [])].map(check => checkRow(check, layer))}
    </table>`
}

const layerSection = (layer: Layer): Html =>
  html`<h2>Policy ${layer.policy} <small>(${layer.mode})</small></h2>
    <ol>
      ${layer.tried.map(
        ({ rule, line, why, matched }) =>
          html`<li class="${matched ? 'here' : ''}">
            <b>${rule}</b>${line && html` (${layer.policy}:${line})`}:
            ${why}${matched ? '; it governs' : undefined}
          </li>`,
      )}
    </ol>
    ${waiverLine(layer)} ${layer.alternatives.map((_, at) => alternativeSection(layer, at))}`

const footer = ({ upstream, clock, policyDigest, evidence, changesAt }: Why): Html =>
  html`<footer>
    Upstream ${upstream} &middot;
    ${clock && html`public since ${clock.time} (by ${clock.source}) &middot; `}policy
    ${policyDigest.slice(0, 12)} &middot; trust
    ${evidence.trust.slice(0, 12)}${changesAt && html` &middot; changes at ${changesAt}`}
  </footer>`

export const whyPage = (why: Why, timeline: Timeline): Html => {
  const id = `${why.package.name}@${why.package.version}`
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${id}: ${why.decision}</title>
        <style>
          ${{ html: WHY_STYLE }}
        </style>
      </head>
      <body>
        <h1>${id}</h1>
        <p class="verdict ${why.decision}">${HEADLINE[why.decision]}</p>
        ${why.notes.map(note => html`<p class="warn">${note}</p>`)} ${reasonsSection(why)}
        ${suggestionSection(why)} ${evidenceSection(why)}
        ${timelineSection(timeline, why.package.version)} ${why.layers.map(layerSection)}
        ${footer(why)}
      </body>
    </html>`
}
