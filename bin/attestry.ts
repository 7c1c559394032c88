#!/usr/bin/env node
/**
 * The `attestry` command. Nothing but the check of Node's version is loaded statically, and the
 * syntax is old on purpose: an old Node must get as far as the sentence that says it is too old.
 */
import module from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { nodeComplaint } from '../lib/cli/node-version.ts'

const complaint = nodeComplaint(process.versions.node)

/** Compiled code, in a folder that is this user's alone: what is in it is run. */
const cacheFolder = () =>
  join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'attestry')

const run = async () => {
  // where the folder cannot be written it is done without
  module.enableCompileCache(cacheFolder())
  // for the threads that verify and the processes of a cluster, which enable it by this alone
  process.env['NODE_COMPILE_CACHE'] ??= cacheFolder()
  const { main } = await import('../lib/cli/main.ts')
  const { terminalAsk } = await import('../lib/cli/ask.ts')
  const { stdout, stderr, env } = process
  const ask = terminalAsk(process)
  process.exitCode = await main(process.argv.slice(2), {
    stdout,
    stderr,
    env,
    cwd: process.cwd(),
    ...(ask && { ask }),
  })
}

// whoever reads our output may stop reading (`| head`): that is no error of ours
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

if (complaint === undefined) {
  void run()
} else {
  process.stderr.write(`${complaint}\n`)
  process.exitCode = 1
}
