/**
 * `attestry sign-bundle`: any file signed keylessly into a sigstore bundle, by the command line that
 * sigstore's conformance suite speaks (sigstore-conformance docs/cli_protocol.md).
 */
import { readFile, stat, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { jack } from 'jackspeak'
import { defaultAudience } from '../attest/identity-token.ts'
import { openSigner } from '../attest/signer.ts'
import { readSigningConfig, type SigningServices } from '../attest/signing-config.ts'
import { readTextFile } from '../config/text-file.ts'
import { AttestryError, messageOf } from '../errors.ts'
import { verifyBlob } from '../evidence/blob.ts'
import { openBundleVerifier, parseBundle } from '../evidence/bundle.ts'
import { refuse } from '../evidence/finding.ts'
import { loadTrust } from '../trust/load-trust.ts'
import { helpText, parseArguments } from './arguments.ts'
import type { Io, Run } from './io.ts'
import { jsonText } from './store-session.ts'

const options = () =>
  jack({
    usage: 'attestry sign-bundle --identity-token TOKEN --bundle FILE [options] FILE',
  })
    .description(
      'Sign a file with the identity that an OIDC token names, and write the sigstore bundle. What was made is verified before it is written.',
    )
    .opt({
      'identity-token': {
        hint: 'token',
        description: 'The OIDC token. Others on this machine can see it; it holds for minutes.',
      },
      bundle: { short: 'b', hint: 'file', description: 'Where the bundle goes.' },
      'trusted-root': {
        hint: 'file',
        description:
          "A sigstore trusted_root.json to verify the bundle with; default: sigstore's public-good root.",
      },
      'signing-config': {
        hint: 'file',
        description:
          'A sigstore signing config: which services to sign with. Default: the public-good ones.',
      },
    })
    .flag({
      staging: {
        description: "Sigstore's staging instance; the bundle is verified with --trusted-root.",
      },
      help: { short: 'h', description: 'Print this.' },
    })

type Values = ReturnType<ReturnType<typeof options>['parse']>['values']

const instance = (domain: string): SigningServices => ({
  fulcio: `https://fulcio.${domain}`,
  log: { url: `https://rekor.${domain}`, version: 1 },
  timestamps: [],
})

/** Bytes. */
const MOST = 1024 * 1024 * 1024

const usage = (message: string): never => {
  throw new AttestryError('EUSAGE', `sign-bundle: ${message}`)
}

const readWhole = async (file: string): Promise<Buffer> => {
  try {
    const { size } = await stat(file)
    if (size > MOST) throw new Error(`it has ${size} bytes; at most ${MOST} are signed`)
    return await readFile(file)
  } catch (error) {
    return usage(`${file}: ${messageOf(error)}`)
  }
}

const parseJson = (text: string, file: string): unknown => {
  try {
    return JSON.parse(text)
  } catch (error) {
    return usage(`${file}: ${messageOf(error)}`)
  }
}

const servicesOf = async ({ 'signing-config': file, staging }: Values, { cwd }: Io) => {
  if (file === undefined) return instance(staging === true ? 'sigstage.dev' : 'sigstore.dev')
  const text = await readTextFile(resolve(cwd, file), 'EUSAGE')
  return readSigningConfig(parseJson(text, file), file, new Date())
}

/** Throws what the verifier throws, and nothing where nobody has a root to verify with. */
const check = async (
  bundle: object,
  bytes: Buffer,
  { 'trusted-root': root, staging }: Values,
  { cwd }: Io,
): Promise<void> => {
  if (root === undefined && staging === true) return
  const trust = await loadTrust({
    roots: [root === undefined ? 'public-good' : { file: resolve(cwd, root) }],
    registryKeys: 'none',
  })
  const nobody = () => refuse('INVALID_ATTESTATION', 'The bundle is signed by a key.')
  try {
    verifyBlob(openBundleVerifier(trust.roots, nobody), parseBundle(bundle), {
      kind: 'bytes',
      bytes,
    })
  } catch (error) {
    throw new AttestryError(
      'ESIGNSERVICE',
      `What was signed does not verify, and was not written: ${messageOf(error)}`,
      { cause: error },
    )
  }
}

export const signBundle: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const [file, ...more] = positionals
  if (file === undefined || more.length > 0)
    return usage(`wanted one file; found ${positionals.length}`)
  const { 'identity-token': token = usage('wanted --identity-token'), bundle: out } = values
  if (out === undefined) return usage('wanted --bundle')
  const { fulcio, log, timestamps } = await servicesOf(values, io)
  const bytes = await readWhole(resolve(io.cwd, file))
  const signer = openSigner({
    fulcio,
    token: () => Promise.resolve(token),
    audience: defaultAudience,
    ...(log && { log }),
    timestamps,
  })
  const bundle = await signer.signFile(bytes)
  await check(bundle, bytes, values, io)
  await writeFile(resolve(io.cwd, out), jsonText(bundle)).catch((error: unknown) =>
    usage(`${out}: ${messageOf(error)}`),
  )
  return 0
}
