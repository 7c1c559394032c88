/** The replica registry over the corpus, where both are present; it serves real packages, valid and forged. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { corpusFile, noCorpus } from './corpus.ts'

export type Replica = {
  /** Ends with a slash. */
  readonly url: string
  readonly cases: readonly string[]
  readonly close: () => void
}

const tool = corpusFile('../tools/replica-registry.mjs')

/** The reason to skip, or false; the form tap's `skip` option takes. */
export const noReplica: string | false =
  noCorpus || (existsSync(tool) ? false : 'the replica registry is not beside the corpus')

export const startReplica = async (): Promise<Replica> => {
  const child = spawn(process.execPath, [tool], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    text += chunk.toString()
    if (text.includes('\n')) break
  }
  const { url, cases } = JSON.parse(text) as { url: string; cases: string[] }
  return {
    url,
    cases,
    close: () => {
      child.kill()
      void once(child, 'exit')
    },
  }
}
