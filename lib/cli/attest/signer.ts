/** The options by which a command finds who signs: a key, or an identity through a Fulcio. */
import { resolve } from 'node:path'
import { ambientToken, defaultAudience } from '../../attest/identity-token.ts'
import { logIn } from '../../attest/login.ts'
import { checkServiceUrl, serviceLimits } from '../../attest/service.ts'
import { openSigner, type Signer } from '../../attest/signer.ts'
import { readSigningKey } from '../../attest/signing-key.ts'
import { readTextFile } from '../../config/text-file.ts'
import { AttestryError } from '../../errors.ts'
import type { Io } from '../io.ts'

/** For jackspeak's `opt`. */
export const signerOptions = {
  key: {
    short: 'k',
    hint: 'file',
    description:
      "A private key that signs: PEM (PKCS#8, encrypted or not, or SEC1), or cosign's, ECDSA on P-256.",
  },
  'passphrase-file': {
    hint: 'file',
    description:
      "Its first line is the key's passphrase; else SIGNING_PASSPHRASE, COSIGN_PASSWORD, or asked for.",
  },
  fulcio: {
    hint: 'url',
    description: 'Signs keylessly: this certificate authority vouches for the identity.',
  },
  'identity-token-file': {
    hint: 'file',
    description:
      "An OIDC token for Fulcio; else SIGSTORE_ID_TOKEN, GitHub Actions' own, or CIRCLE_OIDC_TOKEN_V2.",
  },
  audience: {
    hint: 'name',
    description: 'What the token must be made for; default: the client id.',
  },
  'oidc-issuer': {
    hint: 'url',
    description:
      "Where to log in, with a browser, where there is no token; default: sigstore's own, for its own Fulcio only.",
  },
  'oidc-client-id': {
    hint: 'name',
    description: `What this program is called there; default ${defaultAudience}.`,
  },
  rekor: { hint: 'url', description: 'The transparency log that the signature is put into.' },
  'rekor-version': { hint: 'version', description: 'Its interface: 1 (default) or 2.' },
} as const
/** For its `optList`. */
export const signerLists = {
  tsa: {
    hint: 'url',
    description: 'An RFC 3161 timestamp authority.',
  },
} as const

type Values = Partial<Record<keyof typeof signerOptions, string | undefined>> & {
  readonly tsa?: readonly string[] | undefined
}

const usage = (message: string): never => {
  throw new AttestryError('EUSAGE', message)
}

const firstLine = async (file: string, cwd: string): Promise<string> =>
  (await readTextFile(resolve(cwd, file), 'EUSAGE')).split(/\r?\n/, 1)[0] ?? ''

const passphraseOf =
  ({ 'passphrase-file': file, key }: Values, { env, cwd, ask }: Io) =>
  async (): Promise<string | undefined> => {
    if (file !== undefined) return firstLine(file, cwd)
    // an empty one is one: cosign writes keys with it
    return (
      env['SIGNING_PASSPHRASE'] ??
      env['COSIGN_PASSWORD'] ??
      (await ask?.(`Passphrase of ${key}: `, { hidden: true }))
    )
  }

/** The public sigstore, and who may log in there. */
const publicSigstore = {
  fulcio: 'https://fulcio.sigstore.dev',
  issuer: 'https://oauth2.sigstore.dev/auth',
}

const clientOf = ({ 'oidc-client-id': clientId = defaultAudience }: Values) => clientId
const audienceOf = (values: Values) => values.audience ?? clientOf(values)

/** Where somebody sits at a terminal and there is a place to log in. */
const tokenByLogin = async (values: Values, { ask, stderr }: Io): Promise<string> => {
  const { fulcio = '', 'oidc-issuer': given } = values
  const known = URL.parse(fulcio)?.origin === publicSigstore.fulcio
  const issuer = given ?? (known ? publicSigstore.issuer : undefined)
  if (ask === undefined || issuer === undefined)
    throw new AttestryError(
      'ESIGNIDENTITY',
      `There is no identity token: none was given, and this is no CI system that makes one. ${
        ask === undefined
          ? 'To log in with a browser, run it at a terminal.'
          : 'To log in with a browser, name an issuer that this Fulcio takes by --oidc-issuer.'
      }`,
    )
  return logIn({
    issuer,
    clientId: clientOf(values),
    show: url =>
      stderr.write(`Log in with a browser on this machine, within five minutes:\n\n${url}\n\n`),
    limits: serviceLimits,
  })
}

const tokenOf = (values: Values, io: Io) => async (): Promise<string> => {
  const { 'identity-token-file': file } = values
  if (file === undefined)
    return (
      (await ambientToken(io.env, audienceOf(values), serviceLimits)) ??
      tokenByLogin(values, io)
    )
  const given = (await readTextFile(resolve(io.cwd, file), 'ESIGNIDENTITY')).trim()
  if (given !== '') return given
  throw new AttestryError('ESIGNIDENTITY', `${file}: found nothing; wanted an identity token`)
}

/** Throws EUSAGE, and ESIGNKEY for the key. Asks for a passphrase where one is needed. */
export const signerFor = async (values: Values, io: Io): Promise<Signer> => {
  const { key, fulcio, rekor, tsa: timestamps, 'rekor-version': version = '1' } = values
  if ((key === undefined) === (fulcio === undefined))
    usage('wanted --key FILE, or --fulcio URL to sign keylessly')
  if (version !== '1' && version !== '2') usage('--rekor-version: wanted 1 or 2')
  const witnesses = {
    ...(rekor !== undefined && {
      log: { url: rekor, version: version === '1' ? (1 as const) : (2 as const) },
    }),
    ...(timestamps && { timestamps }),
  }
  if (fulcio !== undefined) {
    const { 'oidc-issuer': issuer } = values
    if (issuer !== undefined) checkServiceUrl('--oidc-issuer', issuer)
    const audience = audienceOf(values)
    return openSigner({ fulcio, token: tokenOf(values, io), audience, ...witnesses })
  }
  const where = key ?? ''
  const text = await readTextFile(resolve(io.cwd, where), 'ESIGNKEY')
  const passphrase = passphraseOf(values, io)
  return openSigner({ key: await readSigningKey({ text, where, passphrase }), ...witnesses })
}
