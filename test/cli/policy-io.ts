/** Runs `attestry policy …` in a folder of its own and collects what it prints. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { main } from '../../lib/cli/main.ts'

const collector = (columns?: number) => {
  let text = ''
  return {
    ...(columns !== undefined && { isTTY: true, columns }),
    write: (chunk: string) => {
      text += chunk
    },
    text: () => text,
  }
}

export type Ran = {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Writes the files into a new folder, which goes with the test. */
export const folderWith = async (t: Test, files: Readonly<Record<string, string>> = {}) => {
  const folder = await mkdtemp(join(tmpdir(), 'attestry-policy-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const write = async (name: string, text: string) => {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), text)
  }
  for (const [name, text] of Object.entries(files)) await write(name, text)
  /** With `columns` the output is a terminal. */
  const run = async (args: readonly string[], columns?: number): Promise<Ran> => {
    const [stdout, stderr] = [collector(columns), collector()]
    const code = await main(args, { stdout, stderr, env: {}, cwd: folder })
    return { code, stdout: stdout.text(), stderr: stderr.text() }
  }
  return { folder, write, run }
}

// eslint-disable-next-line typescript/no-explicit-any -- documents looked into by hand
export type Json = Record<string, any>

export const jsonOf = ({ stdout }: Ran): Json => JSON.parse(stdout) as Json
