/** Registry signatures of our own: what is signed, what must not be, and that they are held to. */
import { createPublicKey, verify } from 'node:crypto'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openPublishReader } from '../../lib/gate/publish-reader.ts'
import { runCli } from '../cli/console.ts'
import type { Json } from '../support/json.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import {
  publishDocument,
  sha512,
  startPrivateRegistry,
  tarballOf,
} from '../support/private-registry.ts'
import { startProxy, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const sigstore = await localSigstore()
const open1 = await startRegistry({ sigstore })
await open1.publish({ name: 'leaf', version: '1.0.0' })
t.teardown(() => Promise.all([open1.close(), sigstore.close()]))

const required = `version: 1
rules:
  - name: ours are signed
    packages: ["@acme/*"]
    upstream: acme
    require: { registrySignature: required }
`

const open = async (t: Test, options: Partial<ProxyOptions> = {}) => {
  const folder = t.testdir({})
  const keys = join(folder, 'keys')
  const cli = async (...argv: string[]) => {
    const said = await runCli(argv, { cwd: folder })
    return { ...said, json: () => JSON.parse(said.stdout) as Json }
  }
  t.equal((await cli('keys', 'create', '--folder', keys)).code, 0)
  const acme = await startPrivateRegistry()
  const told: string[] = []
  const start = async () => {
    const proxy = await startProxy({
      upstream: open1.url,
      trustedRoot: sigstore.trustedRoot,
      registryKeys: sigstore.registryKeys(),
      policies: [required],
      storage: join(folder, 'store'),
      upstreams: [
        `acme: { url: "${acme.url}", retries: 0, packages: ['@acme/*'], passThrough: write, registryKeys: none, signing: { keys: "${keys}" } }`,
      ],
      observer: {
        onSigned: ({ name, version }, upstream, { because }) =>
          void told.push(`signed ${upstream} ${name}@${version} ${because}`),
        onUnsigned: (id, upstream, why) => void told.push(`unsigned ${upstream} ${id}: ${why}`),
      },
      ...options,
    })
    t.teardown(() => proxy.close())
    return proxy
  }
  let proxy = await start()
  t.teardown(() => acme.close())
  /** With the keys as they are now. */
  const restart = async () => {
    await proxy.close()
    proxy = await start()
  }
  /** As the follower does, which looks every ten seconds: what has changed, and stayed so. */
  const look = async () => {
    await proxy.trust.look()
    await proxy.trust.look()
  }
  const get = async (path: string, accept = 'application/json') => {
    const answer = await fetch(new URL(path, proxy.url), { headers: { accept } })
    const text = await answer.text()
    return { status: answer.status, json: () => JSON.parse(text) as Json }
  }
  const put = async (name: string, document: object, headers: Record<string, string> = {}) =>
    fetch(new URL(name.replace('/', '%2f'), proxy.url), {
      method: 'PUT',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(document),
    })
  const dist = async (name: string, version: string): Promise<Json> => {
    const document = (await get(name)).json()
    return (
      ((document['versions'] as Json | undefined)?.[version] as Json | undefined)?.['dist'] ??
      {}
    )
  }
  /** With nothing of ours, as the documentation of npm says. */
  const holds = async (name: string, version: string): Promise<boolean> => {
    const { signatures, integrity } = await dist(name, version)
    const { keys: listed } = (await get('-/npm/v1/keys')).json() as {
      keys: { keyid: string; key: string; scheme: string }[]
    }
    const [signature, ...more] = (signatures ?? []) as { keyid: string; sig: string }[]
    const key = listed.find(({ keyid }) => keyid === signature?.keyid)
    if (!signature || !key || more.length > 0) return false
    return verify(
      'sha256',
      Buffer.from(`${name}@${version}:${integrity}`),
      createPublicKey({ key: Buffer.from(key.key, 'base64'), format: 'der', type: 'spki' }),
      Buffer.from(signature.sig, 'base64'),
    )
  }
  /** Codes of what speaks against it. */
  const reasons = async (id: string) =>
    ((await get(`-/attestry/why/${id}`)).json()['reasons'] as Json[]).map(({ code }) =>
      String(code),
    )
  const tarball = async (name: string, version: string) =>
    (await get(`${name}/-/${name.split('/')[1]}-${version}.tgz`)).status
  const sign = (...argv: string[]) =>
    cli('sign', '--config', join(proxy.folder, 'attestry.yaml'), ...argv)
  return {
    folder,
    keys,
    cli,
    acme,
    told,
    get,
    put,
    dist,
    holds,
    reasons,
    tarball,
    sign,
    restart,
    look,
  }
}

t.test('published through Attestry, and signed', async t => {
  const { acme, put, holds, get, dist, reasons, tarball, told } = await open(t)
  const answer = await put('@acme/a', publishDocument('@acme/a', '1.0.0'))
  t.equal(answer.status, 201)
  t.equal(answer.headers.get('npm-notice'), null)
  t.same(told, ['signed acme @acme/a@1.0.0 published'], 'before the publisher is answered')
  t.ok(await holds('@acme/a', '1.0.0'))
  t.equal(await tarball('@acme/a', '1.0.0'), 200, 'a policy that requires it is content')

  t.test('in every form of the packument', async t => {
    const { signatures } = await dist('@acme/a', '1.0.0')
    const abbreviated = await get('@acme%2fa', 'application/vnd.npm.install-v1+json')
    const { versions } = abbreviated.json()
    t.same((versions as Json)['1.0.0'].dist.signatures, signatures)
    t.same((await get('@acme/a/1.0.0')).json()['dist'].signatures, signatures)
    t.same((await get('@acme/a/latest')).json()['dist'].signatures, signatures)
  })

  t.test('keys: ours beside those of the upstream', async t => {
    const { keys } = (await get('-/npm/v1/keys')).json() as { keys: Json[] }
    t.ok(keys.length > 1)
    t.match(keys[0], {
      keyid: /^SHA256:[A-Za-z0-9+/]{43}$/,
      keytype: 'ecdsa-sha2-nistp256',
      scheme: 'ecdsa-sha2-nistp256',
      expires: null,
    })
  })

  t.test(
    'a version is one request to the upstream, and one that did not change none',
    async t => {
      t.equal((await put('@acme/a', publishDocument('@acme/a', '1.1.0'))).status, 201)
      const before = acme.asked().length
      t.ok(await holds('@acme/a', '1.0.0'))
      t.ok(await holds('@acme/a', '1.1.0'))
      t.equal(acme.asked().length, before)
    },
  )

  t.test('what was published past us is not signed, and the policy says so', async t => {
    acme.publish('@acme/past', '1.0.0')
    t.same(await reasons('@acme/past@1.0.0'), ['UNSIGNED'])
    t.equal(await tarball('@acme/past', '1.0.0'), 403)
  })

  t.test('a public package is never signed', async t => {
    const { versions } = (await get('leaf')).json()
    const { keys } = (await get('-/npm/v1/keys')).json() as { keys: Json[] }
    t.not((versions as Json)['1.0.0'].dist.signatures[0].keyid, keys[0]?.['keyid'])
  })
})

t.test('other bytes under a version that is signed', async t => {
  const { acme, put, tarball, told, sign, holds, get } = await open(t)
  await put('@acme/a', publishDocument('@acme/a', '1.0.0'))
  t.ok(await holds('@acme/a', '1.0.0'))
  told.length = 0
  const other = tarballOf('@acme/a', '1.0.0', 'something else')

  // the registry takes it; we do not sign it
  const answer = await put('@acme/a', publishDocument('@acme/a', '1.0.0', other))
  t.equal(answer.status, 201)
  t.match(answer.headers.get('npm-notice'), /not signed: .*for other bytes/)
  t.match(told, [/^unsigned acme @acme\/a@1\.0\.0: .*for other bytes/])
  t.equal(await tarball('@acme/a', '1.0.0'), 403)
  t.match((await get('-/attestry/why/@acme/a@1.0.0')).json(), {
    decision: 'refuse',
    reasons: [{ code: 'INVALID_SIGNATURE', npmCode: 'EINTEGRITYSIGNATURE' }],
  })
  const asked = await sign('@acme/a@1.0.0', '--json')
  t.equal(asked.code, 1)
  t.match(asked.json(), { signed: [{ state: 'refused', code: 'ESIGNING' }] })

  // and when the bytes are what they were, everything holds again
  acme.publish('@acme/a', '1.0.0')
  t.match(await sign('@acme/a@1.0.0'), { code: 0, stdout: /^was signed/ })
  await put('@acme/a/-rev/1', {})
  t.ok(await holds('@acme/a', '1.0.0'))
  t.equal(await tarball('@acme/a', '1.0.0'), 200)
})

t.test('a registry that shows other bytes than were published through us', async t => {
  const { acme, put, told, reasons } = await open(t)
  const evil = tarballOf('@acme/a', '1.0.0', 'not what ana sent')
  acme.on(/^PUT /, ({ body }) => {
    const { name } = JSON.parse(body.toString('utf8')) as { name: string }
    acme.publish(name, '1.0.0', evil)
    return { status: 201, body: {} }
  })
  t.equal((await put('@acme/a', publishDocument('@acme/a', '1.0.0'))).status, 201)
  t.match(told, [/^unsigned acme @acme\/a@1\.0\.0: the upstream shows other bytes/])
  t.same(await reasons('@acme/a@1.0.0'), ['UNSIGNED'])
})

t.test('a publication that the registry refuses, or is slow to show', async t => {
  const { acme, put, told, reasons, holds } = await open(t)
  acme.on(/^PUT .*late/, { status: 201, body: {} })
  acme.on(/^PUT .*no$/, { status: 403, body: { error: 'no' } })
  t.equal((await put('@acme/no', publishDocument('@acme/no', '1.0.0'))).status, 403)
  acme.publish('@acme/no', '1.0.0')
  t.same(await reasons('@acme/no@1.0.0'), ['UNSIGNED'], 'nobody published it')

  acme.publish('@acme/late', '0.9.0')
  t.equal((await put('@acme/late', publishDocument('@acme/late', '1.0.0'))).status, 201)
  t.same(told, [])
  acme.publish('@acme/late', '1.0.0')
  // the next look shows and signs it
  await put('@acme/late/-rev/1', {})
  t.ok(await holds('@acme/late', '1.0.0'))
  t.same(told, ['signed acme @acme/late@1.0.0 published'])
})

t.test('names that are not reserved, and upstreams without keys', async t => {
  const { sign, put, told } = await open(t, { upstreamSettings: ['passThrough: write'] })
  t.match(await sign('leaf@1.0.0'), {
    code: 1,
    stdout: /^refused .*upstreams\.npm\.signing is not configured/,
  })
  t.match(await sign('@acme/none@1.0.0'), { code: 1, stdout: /^refused .*no package/ })
  t.equal((await put('free', publishDocument('free', '1.0.0'))).status >= 400, true)
  t.same(told, [])

  t.test('the only upstream, without packages', async t => {
    const { acme, keys, cli, folder } = await open(t)
    acme.publish('free', '1.0.0')
    const file = join(folder, 'attestry.yaml')
    const signing = `signing: { keys: "${keys}" }`
    await writeFile(
      file,
      `upstreams: { npm: { url: "${acme.url}", registryKeys: none, ${signing} } }\n`,
    )
    const refused = await cli('sign', '-c', file, 'free@1.0.0')
    t.match(refused, { code: 1, stdout: /the name is not reserved for the upstream npm/ })
  })
})

t.test('attestry sign', async t => {
  const { acme, sign, reasons, holds, tarball, told } = await open(t)
  for (const version of ['1.0.0', '1.1.0', '2.0.0']) acme.publish('@acme/old', version)
  acme.tarballs.set('@acme/old/2.0.0', tarballOf('@acme/old', '2.0.0', 'changed'))
  acme.publish('@acme/weak', '1.0.0')
  acme.version('@acme/weak', '1.0.0')['dist'].integrity += ' sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk='

  const all = await sign('--all', '--json', '@acme/old')
  t.equal(all.code, 1)
  t.match(all.json(), {
    signed: [
      { package: '@acme/old@1.0.0', state: 'signed' },
      { package: '@acme/old@1.1.0', state: 'signed' },
      { package: '@acme/old@2.0.0', state: 'refused', message: /not the ones/ },
    ],
  })
  t.ok(await holds('@acme/old', '1.0.0'))
  t.ok(await holds('@acme/old', '1.1.0'))
  t.same(await reasons('@acme/old@2.0.0'), ['UNSIGNED'])
  t.equal(await tarball('@acme/old', '1.0.0'), 200)
  t.match(await sign('@acme/old@1.0.0', '@acme/old@9.9.9', '@acme/weak@1.0.0'), {
    code: 1,
    stdout:
      /^was signed +@acme\/old@1\.0\.0.*\nrefused .*no version 9\.9\.9\.\nrefused .*one sha512 integrity and nothing else\.\n$/,
  })
  t.match(await sign('--all', '@acme/old@1.0.0'), { code: 2, stderr: /whole packages/ })
  t.match(await sign(), { code: 2 })
  t.same(told, [], 'the server did not do it')
})

t.test('keys in their turns', async t => {
  const { acme, cli, keys, put, dist, holds, tarball, get, sign, restart, look, told } =
    await open(t)
  const listed = async () =>
    (await cli('keys', 'list', '--folder', keys, '--json')).json()['keys'] as Json[]
  await put('@acme/a', publishDocument('@acme/a', '1.0.0'))
  await put('@acme/b', publishDocument('@acme/b', '1.0.0'))
  const [first] = await listed()
  t.match(first, { state: 'signs', privateKey: true })

  t.test('the next one signs, and what the one before signed holds', async t => {
    t.equal((await cli('keys', 'rotate', '--folder', keys)).code, 0)
    await look()
    await put('@acme/a', publishDocument('@acme/a', '2.0.0'))
    const [before, after] = await listed()
    t.match([before, after], [{ state: 'verifies', validUntil: /Z$/ }, { state: 'signs' }])
    t.match((await dist('@acme/a', '1.0.0')).signatures, [{ keyid: before?.['keyId'] }])
    t.match((await dist('@acme/a', '2.0.0')).signatures, [{ keyid: after?.['keyId'] }])
    for (const version of ['1.0.0', '2.0.0']) {
      t.ok(await holds('@acme/a', version))
      t.equal(await tarball('@acme/a', version), 200)
    }
    const served = (await get('-/npm/v1/keys')).json()['keys'] as Json[]
    t.match(served, [{ expires: before?.['validUntil'] }, { expires: null }])
  })

  t.test('a key that had ended when a version was published did not sign it', async t => {
    const packument = acme.packuments.get('@acme/b') ?? {}
    packument['time']['1.0.0'] = '2099-01-01T00:00:00.000Z'
    await put('@acme/b/-rev/1', {})
    t.equal(await tarball('@acme/b', '1.0.0'), 403)
    t.match((await get('-/attestry/why/@acme/b@1.0.0')).json(), {
      reasons: [{ code: 'INVALID_SIGNATURE', npmCode: 'EEXPIREDSIGNATUREKEY' }],
    })
  })

  t.test(
    'a key that was taken out signs nothing, and the next one signs in its place',
    async t => {
      const list = join(keys, 'keys.json')
      const document = JSON.parse(await readFile(list, 'utf8')) as { keys: object[] }
      await writeFile(list, JSON.stringify({ keys: document.keys.slice(1) }))
      await look()
      t.equal(await tarball('@acme/a', '1.0.0'), 403)
      t.match((await get('-/attestry/why/@acme/a@1.0.0')).json(), {
        reasons: [{ code: 'INVALID_SIGNATURE', npmCode: 'EMISSINGSIGNATUREKEY' }],
      })
      t.match(await sign('@acme/a@1.0.0'), { code: 0, stdout: /^signed / })
      await restart()
      await put('@acme/a/-rev/1', {})
      t.ok(await holds('@acme/a', '1.0.0'))
      t.equal(await tarball('@acme/a', '1.0.0'), 200)
    },
  )

  t.test('without the private half: served and verified, and a publisher is told', async t => {
    for (const file of await readdir(keys))
      if (file.endsWith('.pem')) await rm(join(keys, file))
    await restart()
    told.length = 0
    t.ok(await holds('@acme/a', '1.0.0'))
    const answer = await put('@acme/a', publishDocument('@acme/a', '3.0.0'))
    t.equal(answer.status, 201)
    t.match(answer.headers.get('npm-notice'), /not signed: .*private half of SHA256:/)
    t.match(told, [/^unsigned acme @acme\/a@3\.0\.0: .*private half/])
    t.equal(await tarball('@acme/a', '3.0.0'), 403)
  })
})

t.test('what is read along while somebody publishes', async t => {
  const document = publishDocument('@acme/a', '1.0.0')
  const read = (text: string, size = text.length, name = '@acme/a') => {
    const reader = openPublishReader(name)
    const bytes = Buffer.from(text)
    for (let i = 0; i < bytes.length; i += size) reader.write(bytes.subarray(i, i + size))
    return reader.end()
  }
  const integrity = sha512(tarballOf('@acme/a', '1.0.0'))
  const wanted = { name: '@acme/a', version: '1.0.0', integrity }
  const text = JSON.stringify(document)

  t.test('whatever the pieces, the order and the spelling', t => {
    for (const size of [1, 2, 3, 7, 64, 1000, text.length])
      t.same(read(text, size), wanted, `${size}`)
    t.same(read(JSON.stringify(document, null, 2), 5), wanted)
    const reversed = Object.fromEntries(Object.entries(document).toReversed())
    t.same(read(JSON.stringify(reversed), 11), wanted)
    // a slash may be escaped, and so may anything in a name
    t.same(read(text.replaceAll('/', '\\/'), 9), wanted)
    t.same(read(text.replace('"integrity"', '"in\\u0074egrity"'), 13), wanted)
    const readme = {
      ...document,
      readme: '"\\ } ] , : \u00e9 \u{1f512} _attachments',
      n: [1, {}],
    }
    t.same(read(JSON.stringify(readme), 3), wanted)
    t.end()
  })

  t.test('nothing was published', t => {
    t.equal(read('{}'), undefined)
    const { _attachments: _, ...deprecated } = document
    t.equal(read(JSON.stringify(deprecated)), undefined)
    t.end()
  })

  t.test('what cannot be signed', t => {
    const change = (edit: (document: Json) => void) => {
      const copy = JSON.parse(text) as Json
      edit(copy)
      return JSON.stringify(copy)
    }
    const version = (copy: Json) => (copy['versions'] as Json)['1.0.0'] as Json
    const files = (copy: Json) => copy['_attachments'] as Json
    const cases: Record<string, string> = {
      'is in it twice': `${text.slice(0, -1)},"name":"@acme/b"}`,
      '_attachments is in it twice': `${text.slice(0, -1)},"_attachments":{}}`,
      'wanted one': change(copy => ((copy['versions'] as Json)['2.0.0'] = {})),
      'more than one tarball': change(copy => (files(copy)['b.tgz'] = { data: 'AAAA' })),
      'another package': change(copy => (copy['name'] = '@acme/b')),
      'names another package': change(copy => (version(copy)['name'] = '@acme/b')),
      'another version': change(copy => (version(copy)['version'] = '1.0.1')),
      'integrity it names': change(
        copy => (version(copy)['dist'].integrity = sha512(Buffer.of())),
      ),
      'it names is not': change(copy => delete version(copy)['dist'].integrity),
      'not base64': change(copy => (files(copy)['@acme/a-1.0.0.tgz'].data += 'A')),
      'is not base64': change(copy => (files(copy)['@acme/a-1.0.0.tgz'].data = 'AA==AAAA')),
      'in it is not base64': change(copy => (files(copy)['@acme/a-1.0.0.tgz'].data = 'A-_A')),
      'too deep': `{"a":${'['.repeat(1000)}`,
      'too long': `{"${'a'.repeat(20_000)}":1}`,
      'broke off': text.slice(0, -1),
      'more than one document': `${text}{}`,
    }
    for (const [why, sent] of Object.entries(cases))
      for (const size of [3, sent.length])
        t.match(read(sent, size), { unsigned: new RegExp(why) }, why)
    t.match(read(text, 99, '@acme/b'), { unsigned: /another package/ })
    t.end()
  })

  t.test('memory does not grow with the tarball', t => {
    const reader = openPublishReader('@acme/a')
    const head = '{"name":"@acme/a","_attachments":{"a.tgz":{"data":"'
    reader.write(Buffer.from(head))
    const piece = Buffer.alloc(1024 * 1024, 'QUJD')
    const before = process.memoryUsage().heapUsed
    for (let i = 0; i < 64; i++) reader.write(piece)
    t.ok(process.memoryUsage().heapUsed - before < 48 * 1024 * 1024)
    t.match(reader.end(), { unsigned: /broke off/ })
    t.end()
  })
})
