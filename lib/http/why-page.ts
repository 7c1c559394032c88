/** The page behind the link of every refusal: what was decided, why, and what would change it. */
import type { Why } from '../gate/assessments.ts'
import { html, type Html } from './html.ts'

type Layer = Why['layers'][number]
type Check = Layer['alternatives'][number]['checks'][number]

const STYLE = `
:root { color-scheme: light dark; --line: #8885; --soft: #8882; --bad: #c5221f; --good: #188038; --warn: #b06000; }
@media (prefers-color-scheme: dark) { :root { --bad: #f28b82; --good: #81c995; --warn: #fdd663; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.verdict { border-left: .4rem solid; padding: .2rem 1rem; font-size: 1.1rem; }
.refuse, .bad { color: var(--bad); } .allow, .good { color: var(--good); } .unavailable, .warn { color: var(--warn); }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; font-weight: 600; padding: .4rem 0; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { font-weight: 600; } .key { white-space: nowrap; } code, pre { font: .9em ui-monospace, monospace; }
pre { background: var(--soft); padding: 1rem; overflow-x: auto; } footer { margin-top: 3rem; opacity: .7; font-size: .85rem; overflow-wrap: anywhere; }
`

const HEADLINE = {
  allow: 'Served: every policy in force allows it.',
  refuse: 'Refused by policy.',
  unavailable: 'Not served for now: it could not be checked. This is no finding against it.',
} as const

const FACT_NAMES: Readonly<Record<string, string>> = {
  registrySignature: 'Registry signature',
  publishAttestation: 'Publish attestation',
  provenance: 'Provenance',
  manifest: 'Manifest in the tarball',
  bytes: 'Bytes',
}

const stateClass = (state: string) =>
  state === 'verified'
    ? 'good'
    : state === 'invalid'
      ? 'bad'
      : state === 'unavailable'
        ? 'warn'
        : ''

const reasonRows = (why: Why): Html =>
  html` <table>
    <caption>
      Reasons
    </caption>
    <tr>
      <th>Code</th>
      <th>What</th>
      <th>Wanted</th>
      <th>Found</th>
    </tr>
    ${why.reasons.map(
      ({ code, message, field, wanted, found }) =>
        html`<tr>
          <td class="key"><code>${code}</code>${field ? html`<br />${field}` : undefined}</td>
          <td>${message}</td>
          <td>${wanted ? html`<code>${wanted}</code>` : undefined}</td>
          <td>${found ? html`<code>${found}</code>` : undefined}</td>
        </tr>`,
    )}
  </table>`

const factRows = ({ evidence }: Why): Html =>
  html` <table>
      <caption>
        Evidence
      </caption>
      <tr>
        <th>Claim</th>
        <th>State</th>
        <th></th>
      </tr>
      ${evidence.facts.map(
        ({ fact, state, detail }) =>
          html`<tr>
            <td>${FACT_NAMES[fact] ?? fact}</td>
            <td class="${stateClass(state)}">${state}</td>
            <td>${detail}</td>
          </tr>`,
      )}
    </table>
    <p>For the bytes <code>${evidence.integrity}</code></p>`

const identityRows = ({ evidence }: Why): Html | undefined =>
  evidence.identity &&
  html`<table>
    <caption>
      Who signed, by the certificate
    </caption>
    ${Object.entries(evidence.identity).map(
      ([field, value]) =>
        html`<tr>
          <th>${field}</th>
          <td><code>${value}</code></td>
        </tr>`,
    )}
  </table>`

const checkRow = ({ what, wanted, found, ok, identities }: Check): Html =>
  html`<tr>
    <td class="key">${FACT_NAMES[what] ?? what}</td>
    <td>${wanted}</td>
    <td>
      ${found}${identities?.map(
        ({ name, fields }) =>
          html`<br />${name ? html`<b>${name}</b>: ` : undefined}${fields
              .filter(field => !field.ok)
              .map(
                field =>
                  html`<br />${field.field}: wanted <code>${field.wanted}</code>, found
                    <code>${field.found ?? 'nothing'}</code>`,
              )}`,
      )}
    </td>
    <td class="${ok ? 'good' : 'bad'}">${ok ? 'ok' : 'not met'}</td>
  </tr>`

const layerSection = (layer: Layer): Html =>
  html` <h2>Policy ${layer.policy} <small>(${layer.mode})</small></h2>
    <ol>
      ${layer.tried.map(
        ({ rule, line, why }) =>
          html`<li>
            <b>${rule}</b>${line ? html` (${layer.policy}:${line})` : undefined}: ${why}
          </li>`,
      )}
    </ol>
    ${layer.waiver && html`<p>Waived: ${layer.waiver.reason}${layer.waiver.by && html`, by ${layer.waiver.by}`}${layer.waiver.until && html`, until ${layer.waiver.until}`}.</p>`}
    ${layer.alternatives.map(
      ({ checks }) =>
        html`<table>
          <caption>
            Wanted and found
          </caption>
          <tr>
            <th>Of</th>
            <th>Wanted</th>
            <th>Found</th>
            <th></th>
          </tr>
          ${[...checks, ...(layer.age ? [layer.age] : [])].map(checkRow)}
        </table>`,
    )}`

const suggestion = ({ lines, addTo, advice, decision }: Why): Html | undefined =>
  decision === 'allow'
    ? undefined
    : html`<h2>What would admit it</h2>
        <p>${advice}</p>
        ${
          lines &&
          html`<p>Under <code>rules:</code> of ${addTo.join(', ')}, before the others:</p>
            <pre>${lines}</pre>`
        }`

export const whyPage = (why: Why): Html => {
  const id = `${why.package.name}@${why.package.version}`
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${id}: ${why.decision}</title>
        <style>
          ${{ html: STYLE }}
        </style>
      </head>
      <body>
        <h1>${id}</h1>
        <p class="verdict ${why.decision}">${HEADLINE[why.decision]}</p>
        ${why.notes.map(note => html`<p class="warn">${note}</p>`)}
        ${why.reasons.length > 0 ? reasonRows(why) : undefined} ${suggestion(why)}
        ${why.layers.map(layerSection)} ${factRows(why)} ${identityRows(why)}
        <footer>
          Upstream ${why.upstream} &middot;
          ${
            why.clock && html`public since ${why.clock.time} (by ${why.clock.source}) &middot; `
          }policy
          ${why.policyDigest.slice(0, 12)} &middot; trust
          ${why.evidence.trust.slice(0, 12)}${
            why.changesAt && html` &middot; changes at ${why.changesAt}`
          }
        </footer>
      </body>
    </html>`
}
