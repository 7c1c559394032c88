/**
 * `attestry verify-bundle`: a sigstore bundle over any file or digest, by the command line that
 * sigstore's conformance suite speaks (sigstore-conformance docs/cli_protocol.md).
 */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { jack } from 'jackspeak'
import { AttestryError, messageOf } from '../errors.ts'
import { verifyBlob, type Blob } from '../evidence/blob.ts'
import { openBundleVerifier, parseBundle, type VerifiedBundle } from '../evidence/bundle.ts'
import { factOf, refuse } from '../evidence/finding.ts'
import { decodeIdentity } from '../evidence/identity.ts'
import { loadTrust } from '../trust/load-trust.ts'
import { helpText, parseArguments } from './arguments.ts'
import type { Io, Run } from './io.ts'
import { lookOf, markSpan } from './why/look.ts'
import { paragraph } from './why/tree.ts'

const options = () =>
  jack({ usage: 'attestry verify-bundle --bundle FILE [options] FILE_OR_DIGEST' })
    .description(
      'Verify a sigstore bundle over a file, or over its digest as sha256:HEX, offline. Who must have signed is said exactly: by certificate identity and issuer, or by a key.',
    )
    .opt({
      bundle: { short: 'b', hint: 'file', description: 'The bundle.' },
      'certificate-identity': {
        hint: 'subject',
        description: "The certificate's subject alternative name, compared exactly.",
      },
      'certificate-oidc-issuer': {
        hint: 'url',
        description: 'The OIDC issuer in the certificate, compared exactly.',
      },
      key: {
        hint: 'file',
        description: 'A public key (PEM), in place of identity and issuer.',
      },
      'trusted-root': {
        hint: 'file',
        description: "A sigstore trusted_root.json; default: sigstore's public-good root.",
      },
    })
    .flag({
      staging: { description: "Sigstore's staging instance; give its --trusted-root too." },
      help: { short: 'h', description: 'Print this.' },
    })

type Values = ReturnType<ReturnType<typeof options>['parse']>['values']

type Signer =
  | { readonly kind: 'key'; readonly key: KeyObject }
  | { readonly kind: 'certificate'; readonly subject: string; readonly issuer: string }

/** Bytes. Bundles are a few kB; a larger file than that is verified by its digest. */
const limits = { bundle: 4 * 1024 * 1024, key: 64 * 1024, file: 1024 * 1024 * 1024 }

const usage = (message: string): never => {
  throw new AttestryError('EUSAGE', `verify-bundle: ${message}`)
}

const readWhole = async (file: string, limit: number, hint = ''): Promise<Buffer> => {
  try {
    const { size } = await stat(file)
    if (size > limit) throw new Error(`it has ${size} bytes; at most ${limit} are read${hint}`)
    return await readFile(file)
  } catch (error) {
    return usage(`${file}: ${messageOf(error)}`)
  }
}

const isOnDisk = (file: string) =>
  stat(file).then(
    () => true,
    () => false,
  )

/** What looks like a digest is one, unless there is a file of that name. */
const blobOf = async (said: string, cwd: string): Promise<Blob> => {
  const file = resolve(cwd, said)
  const digest = /^sha256:([0-9a-f]{64})$/i.exec(said)?.[1]
  return digest !== undefined && !(await isOnDisk(file))
    ? { kind: 'digest', sha256: Buffer.from(digest, 'hex') }
    : {
        kind: 'bytes',
        bytes: await readWhole(file, limits.file, '; give its digest instead, sha256:HEX'),
      }
}

const signerOf = async (values: Values, cwd: string): Promise<Signer> => {
  const { key, 'certificate-identity': subject, 'certificate-oidc-issuer': issuer } = values
  if (key !== undefined) {
    if (subject !== undefined || issuer !== undefined)
      usage('--key stands alone: a key has no certificate with an identity')
    const pem = await readWhole(resolve(cwd, key), limits.key)
    try {
      return { kind: 'key', key: createPublicKey(pem) }
    } catch (error) {
      return usage(`${key}: wanted a public key in PEM: ${messageOf(error)}`)
    }
  }
  if (subject === undefined || issuer === undefined)
    return usage(
      'wanted --certificate-identity and --certificate-oidc-issuer, or --key: without them anybody may have signed',
    )
  return { kind: 'certificate', subject, issuer }
}

/** The key that was given, for whatever hint a bundle has: nobody says when it was valid. */
const finderFor = (signer: Signer) => (): { publicKey: KeyObject; validFor: () => boolean } =>
  signer.kind === 'key'
    ? { publicKey: signer.key, validFor: () => true }
    : refuse('INVALID_ATTESTATION', 'The bundle is signed by a key, and none was given.')

const mismatch = (field: string, wanted: string, found: string): never =>
  refuse('INVALID_ATTESTATION', `The certificate is for another ${field}.`, { wanted, found })

const checkSigner = (signer: Signer, { certificate }: VerifiedBundle): string => {
  if (signer.kind === 'key')
    return certificate === undefined
      ? 'the key'
      : refuse('INVALID_ATTESTATION', 'The bundle has a certificate; wanted the key given.')
  if (certificate === undefined)
    return refuse('INVALID_ATTESTATION', 'The bundle is signed by a key, not by a certificate.')
  const { subject, issuer } = decodeIdentity(certificate)
  if (subject !== signer.subject) mismatch('identity', signer.subject, subject)
  if (issuer !== signer.issuer) mismatch('issuer', signer.issuer, issuer)
  return `${subject} (${issuer})`
}

const parseJson = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch (error) {
    return refuse('INVALID_ATTESTATION', `The bundle is not JSON: ${messageOf(error)}`)
  }
}

const verifyWith = async (values: Values, said: string, io: Io): Promise<number> => {
  const { bundle: file = usage('wanted --bundle'), 'trusted-root': root, staging } = values
  if (staging === true && root === undefined)
    usage('--staging: the staging root is not shipped; give it with --trusted-root FILE')
  const signer = await signerOf(values, io.cwd)
  const blob = await blobOf(said, io.cwd)
  const bytes = await readWhole(resolve(io.cwd, file), limits.bundle)
  const trust = await loadTrust({
    roots: [root === undefined ? 'public-good' : { file: resolve(io.cwd, root) }],
    registryKeys: 'none',
  })
  const look = lookOf(io)
  try {
    const bundle = parseBundle(parseJson(bytes))
    const verifiers = openBundleVerifier(trust.roots, finderFor(signer))
    const verified = verifyBlob(verifiers, bundle, blob)
    const by = checkSigner(signer, verified)
    const { time, source } = verified.signedAt
    const told = `by the word of a ${source === 'log' ? 'log' : 'timestamp authority'}`
    const words = [markSpan('good', look), `verified: signed by ${by} at ${time}, ${told}`]
    io.stdout.write(paragraph(words, look))
    return 0
  } catch (error) {
    // whatever is thrown while verifying, it does not verify
    const { code, detail, wanted, found } = factOf(
      error,
      'INVALID_ATTESTATION',
      'EATTESTATIONVERIFY',
    )
    const sides = wanted === undefined ? '' : ` Wanted ${wanted}, found ${found ?? 'nothing'}.`
    io.stderr.write(`attestry: ${said} is refused, ${code}: ${detail}${sides}\n`)
    return 1
  }
}

export const verifyBundle: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const [said, ...more] = positionals
  if (said === undefined || more.length > 0)
    return usage(`wanted one file or digest; found ${positionals.length}`)
  return verifyWith(values, said, io)
}
