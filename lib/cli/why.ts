/** `attestry why`: the verdict on one version with everything it rests on. */
import { AttestryError } from '../errors.ts'
import type { Decision, PackageId } from '../types.ts'
import { plain } from './audit/paint.ts'
import { helpText, parseArguments } from './arguments.ts'
import type { Io, Run } from './io.ts'
import { packageSpec } from './package-spec.ts'
import { openSession, sessionJack, type SessionValues } from './session.ts'
import { lookOf } from './why/look.ts'
import { askWhy, type Explained } from './why/remote.ts'
import { whyText } from './why/report.ts'

const options = () =>
  sessionJack(
    'attestry why <package>[@version or dist-tag] [options]',
    'Explain why a version is served or refused: reasons, rules tried, evidence, publishers, and what would admit it. Without a version: latest.',
  )
    .opt({
      server: { hint: 'url', description: 'Ask the Attestry that runs there instead.' },
    })
    .flag({ json: { description: 'Print JSON: what /-/attestry/why/ answers.' } })

const EXIT: Readonly<Record<Decision, number>> = { allow: 0, refuse: 1, unavailable: 2 }

const explainHere = async (
  values: SessionValues,
  io: Io,
  id: PackageId,
): Promise<Explained> => {
  const { gate, close } = await openSession(values, io)
  try {
    const why = await gate.why(id)
    return { ...why, timeline: await gate.timeline(id.name) }
  } finally {
    await close()
  }
}

const OWN = ['config', 'storage', 'upstream', 'policy'] as const

export const why: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const [spec, ...more] = positionals
  if (spec === undefined || more.length > 0)
    throw new AttestryError(
      'EUSAGE',
      `why wants one package, as in name@version; found ${positionals.length}`,
    )
  const id = packageSpec(spec, 'latest')
  const { server } = values
  const idle = OWN.find(option => server !== undefined && values[option] !== undefined)
  if (idle !== undefined)
    throw new AttestryError(
      'EUSAGE',
      `--${idle} means nothing with --server, which has its own`,
    )

  const waiting = io.stderr.isTTY === true
  // a line that the terminal breaks could not be taken back
  const line = `looking at ${plain(id.name)} and its publishers ...`
  if (waiting) io.stderr.write(line.slice(0, (io.stderr.columns ?? 80) - 1))
  let explained: Explained
  try {
    explained =
      server === undefined ? await explainHere(values, io, id) : await askWhy(server, id)
  } finally {
    // the whole line goes
    if (waiting) io.stderr.write('\r\u001b[2K')
  }
  const { timeline, ...said } = explained
  io.stdout.write(
    values.json
      ? `${JSON.stringify(explained, null, 2)}\n`
      : whyText(said, timeline, lookOf(io)),
  )
  return EXIT[explained.decision]
}
