/** `attestry policy status`: what is published, what was before, and what each instance judges by. */
import { awaitAll } from '../../rollout/acknowledge.ts'
import { beat } from '../../rollout/roster.ts'
import { openPublished } from '../../rollout/published.ts'
import { helpText, parseOptions } from '../arguments.ts'
import type { Run } from '../io.ts'
import { jsonText, storeJack, withStore } from '../store-session.ts'
import {
  instancesJson,
  instancesText,
  reasonsText,
  revisionJson,
  revisionText,
} from './rollout-report.ts'

/** Milliseconds in which an instance that seems dead may give a sign of life. */
const patience = 2 * beat
/** Of the revisions before, those that are printed. */
const shown = 10

const options = () =>
  storeJack(
    'attestry policy status [options]',
    'Show the published policy, the revisions before it, and what each instance on the store judges by. Exit code 2 where some do not judge by what is published.',
  )

export const status: Run = async (args, io) => {
  const command = options()
  const values = parseOptions(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  return withStore(values, io, async ({ records, changes }) => {
    const history = await openPublished(records, changes).history()
    const [newest, ...older] = history
    const seen = await awaitAll({ records, revision: newest, wait: patience, glance: true })
    const now = new Date()
    const followers = seen.filter(({ standing }) => standing !== 'files')
    const ok =
      followers.length === 0 || seen.every(({ standing }) => standing === 'acknowledged')
    if (values.json)
      io.stdout.write(
        jsonText({
          ok,
          ...(newest && { published: revisionJson(newest) }),
          older: older.map(revisionJson),
          instances: instancesJson(seen, now),
        }),
      )
    else {
      io.stdout.write(
        newest
          ? `In force: ${revisionText(newest)}\n`
          : 'No policy is published in the store.\n',
      )
      for (const one of older.slice(0, shown)) io.stdout.write(`Before: ${revisionText(one)}\n`)
      if (older.length > shown)
        io.stdout.write(`… and ${older.length - shown} before; --json has all.\n`)
      io.stdout.write(
        seen.length > 0
          ? `\n${instancesText(seen, now)}${ok ? '' : `\n${reasonsText(seen, now)}`}`
          : '\nNo instance is on record.\n',
      )
    }
    return ok ? 0 : 2
  })
}
