import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parseRegistryKeys } from '../../lib/trust/registry-keys.ts'
import type { Json } from '../support/json.ts'
import { runCli } from './console.ts'

const settings = `upstreams:
  npm: {}
  acme:
    url: http://127.0.0.1:9/
    packages: ['@acme/*']
    signing: { keys: ./acme-keys, passphrase: "\${PASS}" }
  beta:
    url: http://127.0.0.1:9/beta/
    signing: { keys: ./beta-keys }
`

const open = (t: Test, text = settings, pass = 'correct horse') => {
  const cwd = t.testdir({ 'attestry.yaml': text })
  const run = async (...argv: string[]) => {
    const env = { LANG: 'C.UTF-8', PASS: pass, SIGNING_PASSPHRASE: 'in the open' }
    const said = await runCli(['keys', ...argv], { cwd, env })
    return { ...said, json: () => JSON.parse(said.stdout) as Json }
  }
  return { cwd, run }
}

t.test('create, list, rotate, export', async t => {
  const { cwd, run } = open(t)
  const at = ['--upstream', 'acme']
  t.match(await run('list', ...at), { code: 0, stdout: /no keys in .*acme-keys/ })
  const made = await run('create', ...at, '--for', '365d')
  t.match(made, {
    code: 0,
    stdout: /^SHA256:[A-Za-z0-9+/]{43}\n$/,
    stderr: /within twenty seconds/,
  })
  const keyId = made.stdout.trim()

  const folder = join(cwd, 'acme-keys')
  const files = await readdir(folder)
  t.equal(files.length, 2)
  const pem = join(folder, files.find(name => name.endsWith('.pem')) ?? '')
  t.match(await readFile(pem, 'utf8'), /^-----BEGIN ENCRYPTED PRIVATE KEY-----\n/)
  t.equal((await stat(pem)).mode & 0o777, 0o600)
  t.equal((await stat(folder)).mode & 0o777, 0o700)
  t.notMatch(made.stdout + made.stderr, /correct horse/)

  t.match(await run('create', ...at), { code: 2, stderr: /keys rotate makes the next one/ })
  const later = new Date(Date.now() + 7 * 86_400_000).toISOString()
  const next = await run('rotate', ...at, '--from', later, '--overlap', '2d', '--json')
  t.match(next.json(), { created: /^SHA256:/, state: 'waits', folder })
  t.equal((await readdir(folder)).length, 3)
  const { keys } = (await run('list', ...at, '--json')).json() as { keys: Json[] }
  t.match(keys, [
    { keyId, state: 'signs', privateKey: true },
    { state: 'waits', validFrom: later, privateKey: true },
  ])
  t.equal(Date.parse(String(keys[0]?.['validUntil'])), Date.parse(later) + 2 * 86_400_000)
  t.notOk('validUntil' in (keys[1] ?? {}))
  const listed = await run('list', ...at)
  t.match(
    listed.stdout,
    /^KEY +FROM +UNTIL +STATE +PRIVATE HALF\nSHA256:.* signs +here\nSHA256:.* no end +waits +here\n$/,
  )
  t.match(await run('rotate', ...at, '--from', later), { code: 2, stderr: /begin after that/ })

  const endpoint = (await run('export', ...at)).json() as { keys: Json[] }
  t.match(endpoint.keys, [{ keyid: keyId, expires: /Z$/ }, { expires: null }])
  const tuf = (await run('export', ...at, '--form', 'tuf')).json()
  for (const document of [endpoint, tuf])
    t.match(parseRegistryKeys(document, 'x'), [{ keyId, usage: 'npm:signatures' }, {}])
  const pems = await run('export', ...at, '--form', 'pem')
  t.equal(pems.stdout.match(/BEGIN PUBLIC KEY/g)?.length, 2)
  t.match(await run('export', ...at, '--form', 'jwk'), {
    code: 2,
    stderr: /endpoint, tuf, pem/,
  })
  t.match(await run('export', ...at, '--form', 'pem', '--json'), { code: 2 })
  for (const { stdout } of [pems, listed]) t.notMatch(stdout, /PRIVATE KEY/)
})

t.test('a key that is there already', async t => {
  const { cwd, run } = open(t)
  const pair = (curve: string, passphrase?: string) =>
    generateKeyPairSync('ec', { namedCurve: curve }).privateKey.export({
      type: 'pkcs8',
      format: 'pem',
      ...(passphrase !== undefined && { cipher: 'aes-256-cbc', passphrase }),
    })
  await writeFile(join(cwd, 'own.pem'), pair('P-256', 'in the open'))
  await writeFile(join(cwd, 'large.pem'), pair('P-384'))
  await writeFile(join(cwd, 'no.pem'), 'no key')
  const create = (file: string) => run('create', '--folder', 'keys', '--key', file)
  t.match(await create('large.pem'), { code: 2, stderr: /secp384r1; wanted ECDSA on P-256/ })
  t.match(await create('no.pem'), { code: 2, stderr: /no private key/ })
  t.match(await create('none.pem'), { code: 2, stderr: /ENOENT/ })
  t.equal((await create('own.pem')).code, 0)
  const [file = ''] = (await readdir(join(cwd, 'keys'))).filter(name => name.endsWith('.pem'))
  const kept = await readFile(join(cwd, 'keys', file), 'utf8')
  t.ok(createPrivateKey({ key: kept, passphrase: 'in the open' }))
})

t.test('which keys are meant', async t => {
  const { run } = open(t)
  t.match(await run('list'), { code: 2, stderr: /acme, beta.*--upstream/s })
  t.match(await run('list', '--upstream', 'acne'), { code: 2, stderr: /did you mean "acme"/ })
  t.match(await run('list', '--upstream', 'npm'), {
    code: 2,
    stderr: /npm has no signing\.keys/,
  })
  t.match(await run('list', '--upstream', 'beta', '--folder', 'x'), { code: 2 })
  t.equal((await run('create', '--upstream', 'beta')).code, 0)
  const { cwd, run: plain } = open(t, 'upstreams: { npm: {} }\n')
  t.match(await plain('list'), { code: 2, stderr: /no upstream .* has signing\.keys/ })
  t.ok(cwd)
})

t.test('folders that are not right', async t => {
  const { cwd, run } = open(t)
  t.equal((await run('create', '--upstream', 'acme')).code, 0)
  const folder = join(cwd, 'acme-keys')
  const list = join(folder, 'keys.json')
  const good = await readFile(list, 'utf8')
  const [file = ''] = (await readdir(folder)).filter(name => name.endsWith('.pem'))
  const pem = await readFile(join(folder, file), 'utf8')
  const read = () => run('list', '--upstream', 'acme')
  const edited = async (edit: (key: Json) => unknown) => {
    const document = JSON.parse(good) as { keys: Json[] }
    edit(document.keys[0] ?? {})
    await writeFile(list, JSON.stringify(document))
    const said = await read()
    await writeFile(list, good)
    return said
  }
  t.match(await edited(key => (key['keyId'] = `SHA256:${'A'.repeat(43)}`)), {
    code: 2,
    stderr: /is the key SHA256:/,
  })
  t.match(await edited(key => delete key['publicKey'].validFor), { code: 2, stderr: /start/ })
  t.match(await edited(key => (key['keyUsage'] = 'npm:attestations')), {
    code: 2,
    stderr: /npm:attestations; wanted npm:signatures/,
  })
  await writeFile(list, '{')
  t.match(await read(), { code: 2, stderr: /keys\.json: .*JSON.*\nESIGNING/ })
  await writeFile(list, good)

  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  await writeFile(join(folder, file), other.export({ type: 'pkcs8', format: 'pem' }))
  t.match(await read(), { code: 2, stderr: /\.pem: it is the key SHA256:/ })
  await writeFile(join(folder, file), pem)
  const wrong = await runCli(['keys', 'list', '--upstream', 'acme'], {
    cwd,
    env: { PASS: 'incorrect pony' },
  })
  t.match(wrong, { code: 2, stderr: /passphrase is another/ })
  t.notMatch(wrong.stderr, /incorrect pony/)
  await writeFile(join(folder, 'keys.json.new'), '')
  t.match(await run('rotate', '--upstream', 'acme'), {
    code: 2,
    stderr: /another attestry keys/,
  })
  t.equal((await readdir(folder)).length, 3, 'nothing else was written')
  t.equal(await readFile(list, 'utf8'), good)

  t.test(
    'a folder that cannot be written',
    { skip: process.getuid?.() === 0 && 'root' },
    async t => {
      await mkdir(join(cwd, 'shut'), { mode: 0o500 })
      t.match(await run('create', '--folder', 'shut'), { code: 2, stderr: /ESIGNING/ })
      await chmod(join(cwd, 'shut'), 0o700)
    },
  )
})
