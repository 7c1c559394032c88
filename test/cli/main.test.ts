import t from 'tap'
import { runCli } from './console.ts'
import type { Command } from '../../lib/cli/commands.ts'
import type { Io } from '../../lib/cli/io.ts'
import { main } from '../../lib/cli/main.ts'
import { nodeComplaint } from '../../lib/cli/node-version.ts'
import { version } from '../../lib/version.ts'
import { AttestryError } from '../../lib/errors.ts'

const collector = () => {
  let text = ''
  return {
    write: (chunk: string) => {
      text += chunk
    },
    text: () => text,
  }
}

const calls: (readonly string[])[] = []
const command = (run: (args: readonly string[]) => number): Command => ({
  summary: 'a command of the test',
  load: async () => async args => {
    calls.push(args)
    return run(args)
  },
})

const commands: Readonly<Record<string, Command>> = {
  serve: command(() => 0),
  audit: command(() => 1),
  policy: command(() => {
    throw new AttestryError('EPOLICY', 'p.yaml:3:1: unknown key "rulez"')
  }),
  broken: command(() => {
    throw new TypeError('nobody meant this')
  }),
  unloadable: {
    summary: 'fails while its modules load',
    load: async () => {
      throw new Error('no such module')
    },
  },
}

const run = async (...argv: string[]) => {
  const [stdout, stderr] = [collector(), collector()]
  const io: Io = { stdout, stderr, env: {}, cwd: '/' }
  calls.length = 0
  const code = await main(argv, io, commands)
  return { code, stdout: stdout.text(), stderr: stderr.text(), calls: [...calls] }
}

t.test('global options', async t => {
  t.match(version, /^\d+\.\d+\.\d+/)
  for (const option of ['--version', '-V'])
    t.match(await run(option), { code: 0, stdout: `${version}\n`, stderr: '', calls: [] })
  for (const args of [['--help'], ['policy', '--help'], ['store', '--help']])
    for (const columns of [80, 140]) {
      const { stdout } = await runCli(args, { cwd: '/', columns })
      const lines = stdout.split('\n')
      t.same(
        lines.filter(line => line.length > columns),
        [],
        args.join(' '),
      )
    }
  for (const option of ['--help', '-h']) {
    const { code, stdout, calls } = await run(option)
    t.match({ code, calls }, { code: 0, calls: [] })
    for (const name of Object.keys(commands)) t.match(stdout, new RegExp(`^  ${name} `, 'm'))
  }
})

t.test('the command, its arguments and its exit code', async t => {
  t.match(await run(), { code: 0, calls: [[]] }, 'serve, when none is named')
  t.match(await run('audit', '--json', 'a', '-h', '--', '--b'), {
    code: 1,
    stdout: '',
    stderr: '',
    calls: [['--json', 'a', '-h', '--', '--b']],
  })
})

t.test('wrong usage is 2 and names what is near', async t => {
  const near = await run('adit')
  t.match(near, { code: 2, stdout: '', stderr: /^EUSAGE: /m, calls: [] })
  t.match(near.stderr, '"audit"')
  t.match(await run('--listen=1'), { code: 2, stderr: /^EUSAGE: /m, calls: [] })
  for (const name of ['constructor', '__proto__', 'toString', ''])
    t.match(await run(name), { code: 2, stderr: /^EUSAGE: /m, calls: [] }, name)
})

t.test('help is a word, too', async t => {
  const { code, stdout, calls } = await run('help')
  t.match({ code, calls }, { code: 0, calls: [] })
  t.match(stdout, /^ {2}audit /m)
  t.match(await run('help', 'audit'), { calls: [['--help']] })
  t.match(await run('help', 'audit', 'part'), { calls: [['part', '--help']] })
  t.match(await run('help', 'nothing'), { code: 2, stderr: /^EUSAGE: /m, calls: [] })
  t.same(
    await runCli(['store', 'help', 'gc'], { cwd: '/' }),
    await runCli(['store', 'gc', '--help'], { cwd: '/' }),
  )
  t.match(await runCli(['store', 'help'], { cwd: '/' }), { code: 0, stdout: /^ {2}gc /m })
  for (const args of [['audit'], ['serve'], ['vouch'], ['store', 'gc'], ['why']]) {
    const asked = await runCli(['help', ...args], { cwd: '/' })
    t.match(asked, { code: 0, stdout: `attestry ${args.join(' ')}` })
    t.match(asked.stdout, /[^\n]\n$/, 'one line break at the end')
    t.equal((await runCli([...args, '--help'], { cwd: '/' })).stdout, asked.stdout)
  }
})

t.test('options that are not there, and arguments that nobody takes', async t => {
  const refused = async (args: readonly string[], said: RegExp) => {
    const { code, stdout, stderr } = await runCli(args, { cwd: '/' })
    t.match({ code, stdout, stderr }, { code: 2, stdout: '', stderr: /^EUSAGE: /m })
    t.match(stderr, said)
  }
  await refused(['-v'], /-v \(did you mean -V\?\)/)
  await refused(['audit', '--polcy=x'], /--polcy \(did you mean --policy\?\)/)
  await refused(['policy', 'check', '--strct'], /--strct \(did you mean --strict\?\)/)
  await refused(['audit', '-x'], /-x\n/)
  await refused(['audit', '--zzzzzzzz'], /--zzzzzzzz\n/)
  const secret = ['sign-bundle', '--identity-tokn=c2VjcmV0']
  await refused(secret, /did you mean --identity-token\?/)
  t.notMatch((await runCli(secret, { cwd: '/' })).stderr, 'c2VjcmV0', 'no value is told')
  await refused(['audit', '--omit=devs'], /--omit: wanted dev or optional; found "devs"/)
  // `npm start --policy foo` must not serve without that policy
  await refused(['serve', 'foo'], /found "foo" .*npm start -- --policy FILE/)
  await refused(['log', 'show', 'lodash'], /found "lodash"/)
  await refused(['store', 'gc', 'now'], /found "now"/)
})

t.test('errors end here', async t => {
  const meant = await run('policy')
  t.match(meant, { code: 2, stdout: '', stderr: /^EPOLICY: /m })
  t.match(meant.stderr, 'p.yaml:3:1')
  t.notMatch(meant.stderr, /^ +at /m, 'no stack for what was raised on purpose')
  const defect = await run('broken')
  t.match(defect, { code: 2, stdout: '', stderr: /TypeError/ })
  t.match(defect.stderr, /^ +at /m, 'a stack for a defect')
  t.match(await run('unloadable'), { code: 2, stderr: /no such module/ })
})

t.test('which Node will do', async t => {
  for (const good of ['24.15.0', '24.21.0', '26.0.0', '27.1.0-nightly'])
    t.equal(nodeComplaint(good), undefined, good)
  for (const old of ['12.22.12', '20.20.2', '22.22.2', '24.14.9', '25.9.0', '']) {
    const complaint = nodeComplaint(old)
    t.match(complaint, `Node ${old}`)
    t.notMatch(complaint, '\n')
  }
})
