import { rm } from 'node:fs/promises'
import t from 'tap'
import { runCli } from './console.ts'

const settings = `storage: { path: ./store }
views: { mobile: { policies: [./mobile.yaml] } }
`

const open = (t: { testdir: (files: Record<string, string>) => string }) => {
  const cwd = t.testdir({ 'attestry.yaml': settings, 'mobile.yaml': 'version: 1\n' })
  const run = (...argv: string[]) => runCli(['token', ...argv], { cwd })
  return { cwd, run }
}

t.test('create, list, revoke', async t => {
  const { cwd, run } = open(t)
  t.match(await run('list'), { code: 0, stdout: /no tokens/ })
  const made = await run('create', '--name', 'ci', '--view', 'mobile', '--expires', '90d')
  t.match(made, {
    code: 0,
    stdout: /^attestry_[\w-]{43}\n$/,
    stderr: /^ci, view mobile, until /,
  })
  t.equal((await run('create', '--name', 'dev')).code, 0)
  const json = JSON.parse((await run('create', '--name', 'j', '--json')).stdout) as object
  t.match(json, { name: 'j', token: /^attestry_/, createdAt: /Z$/ })

  const listed = await run('list')
  t.match(
    listed.stdout,
    /^NAME +VIEW +CREATED +EXPIRES +STATE\nci +mobile +\d.* valid\ndev +- .*never/,
  )
  t.notMatch(listed.stdout, made.stdout.trim(), 'it is not shown again')
  const { tokens } = JSON.parse((await run('list', '--json')).stdout) as { tokens: object[] }
  t.match(tokens, [
    { name: 'ci', view: 'mobile', ended: false },
    { name: 'dev' },
    { name: 'j' },
  ])
  t.notMatch(JSON.stringify(tokens), /attestry_/)

  t.match(await run('revoke', 'ci'), { code: 0, stdout: 'ci is revoked.\n' })
  t.match(await run('revoke', 'ci'), { code: 2, stderr: /no token ci/ })
  t.match(await run('revoke', 'deb'), { code: 2, stderr: /did you mean "dev"/ })
  t.notMatch((await run('list')).stdout, /^ci /m)
  await rm(`${cwd}/store`, { recursive: true })
})

t.test('what cannot be', async t => {
  const { run } = open(t)
  for (const argv of [
    [],
    ['mint'],
    ['create'],
    ['create', 'ci'],
    ['create', '--name', 'a b'],
    ['create', '--name', 'ci', '--expires', 'soon'],
    ['create', '--name', 'ci', '--expires', '0d'],
    ['create', '--name', 'ci', '--view', 'mobil'],
    ['revoke'],
    ['revoke', 'a', 'b'],
  ])
    t.match(await run(...argv), { code: 2, stdout: '', stderr: /EUSAGE/ }, argv.join(' '))
  t.match(await run('create', '--name', 'ci', '--view', 'mobil'), {
    stderr: /did you mean "mobile"/,
  })
  for (const argv of [
    ['--help'],
    ['create', '--help'],
    ['list', '--help'],
    ['revoke', '--help'],
  ])
    t.match(await run(...argv), { code: 0, stdout: /Usage:/ })
})
