/** `attestry serve`: the proxy, until it is told to stop. Loads no more than the process will need. */
import cluster from 'node:cluster'
import { readSettingsFile } from '../config/settings-file.ts'
import { helpText, parseOptions } from './arguments.ts'
import type { Run } from './io.ts'
import { asksForCluster } from './serve/foresight.ts'
import { sessionJack, sessionSettings } from './session.ts'

const options = () =>
  sessionJack(
    'attestry serve [options]',
    'Run the registry proxy. Without a settings file every setting has its default.',
  ).opt({
    listen: { short: 'l', hint: 'host:port', description: 'Where to listen.' },
    'public-url': { hint: 'url', description: 'What clients call this server.' },
    'log-level': {
      hint: 'level',
      description: 'fatal, error, warn, info, debug, trace, silent.',
    },
  })

/** `npm start --policy FILE` keeps `--policy` to itself and hands on the file alone. */
const NPM_START = ' (npm start hands on what stands behind --: npm start -- --policy FILE)'

const fork = async () => (await import('./serve/crew.ts')).forkWorker()

export const serve: Run = async (args, io) => {
  const command = options()
  const values = parseOptions(command, args, NPM_START)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const { listen, 'public-url': publicUrl, 'log-level': logLevel } = values
  const overrides = {
    ...(listen !== undefined && { listen }),
    ...(publicUrl !== undefined && { publicUrl }),
    ...(logLevel !== undefined && { logLevel }),
  }
  if (cluster.isWorker) {
    const { openInbox } = await import('./serve/inbox.ts')
    const inbox = openInbox()
    const { serveWorker, leaveCluster } = await import('./serve/worker.ts')
    try {
      const start = await inbox.start
      const settings = await sessionSettings(values, io, overrides, start.settings)
      return await serveWorker(settings, start, inbox)
    } finally {
      leaveCluster()
    }
  }
  const text = await readSettingsFile({ file: values.config, env: io.env, cwd: io.cwd })
  // it loads what it needs while this process reads the settings
  let first = asksForCluster(text, io.env) ? await fork() : undefined
  try {
    const settings = await sessionSettings(values, io, overrides, text)
    if (settings.cluster.workers === 1) {
      first?.process.kill('SIGKILL')
      const { serveAlone } = await import('./serve/alone.ts')
      return await serveAlone(settings)
    }
    first ??= await fork()
    const { servePrimary } = await import('./serve/primary.ts')
    return await servePrimary(settings, first)
  } finally {
    // only where settings or policies were refused is it still there
    first?.process.kill('SIGKILL')
  }
}
