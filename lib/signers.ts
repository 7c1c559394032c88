/** What signs, opened from settings: registry signatures of an upstream, and verification summaries. */
import { readFile } from 'node:fs/promises'
import { openRegistrySigner, type RegistrySigner } from './attest/registry-signer.ts'
import { openSigner } from './attest/signer.ts'
import { readSigningKey } from './attest/signing-key.ts'
import type { Settings, UpstreamSettings } from './config/settings.ts'
import { readTextFile } from './config/text-file.ts'
import { AttestryError, messageOf } from './errors.ts'
import type { SummaryTerms } from './gate/summaries.ts'
import { readKeyFolder } from './trust/key-folder.ts'
import { version } from './version.ts'

export type LiveSigner = RegistrySigner & {
  /** Signs by what the folder holds now; where that cannot be used, as before, and it is told. */
  readonly reread: () => Promise<void>
}

/** Throws ETRUST or ESIGNING. That nothing can be signed now is no reason not to serve: it is told. */
export const registrySignerOf = async (
  { name, signing }: UpstreamSettings,
  now: () => Date,
  onError: (what: string, error: unknown) => void,
): Promise<LiveSigner | undefined> => {
  if (!signing) return undefined
  const passphrase = signing.passphrase?.reveal()
  const folder = { folder: signing.keys, ...(passphrase !== undefined && { passphrase }) }
  const tell = (error: unknown) => onError(`signing for ${name}`, error)
  const open = async () => {
    const signer = openRegistrySigner({ from: signing.keys, ...(await readKeyFolder(folder)) })
    const problem = signer.problem(now())
    if (problem !== undefined) tell(new AttestryError('ESIGNING', problem))
    return signer
  }
  let current = await open()
  return {
    keys: () => current.keys(),
    problem: at => current.problem(at),
    sign: (text, at) => current.sign(text, at),
    reread: async () => {
      try {
        current = await open()
      } catch (error) {
        tell(error)
      }
    },
  }
}

const tokenFrom = (file: string) => async (): Promise<string> => {
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    throw new AttestryError('ESIGNIDENTITY', `${file}: ${messageOf(error)}`, { cause: error })
  }
}

/** Throws ESIGNKEY, or EUSAGE for addresses that cannot be used. */
export const summarySignerOf = async (
  { summaries }: Pick<Settings, 'summaries'>,
  now: () => Date,
): Promise<SummaryTerms | undefined> => {
  if (!summaries) return undefined
  const { verifier, key, passphrase, fulcio, identityToken, rekor, timestamp } = summaries
  const common = {
    ...(rekor !== undefined && { log: { url: rekor, version: 1 as const } }),
    ...(timestamp !== undefined && { timestamps: [timestamp] }),
    now,
  }
  if (key !== undefined) {
    const text = await readTextFile(key, 'ESIGNKEY')
    const secret = () => Promise.resolve(passphrase?.reveal())
    const signingKey = await readSigningKey({ text, where: key, passphrase: secret })
    return { verifier, version, signer: openSigner({ key: signingKey, ...common }) }
  }
  const signer = openSigner({
    fulcio: fulcio ?? '',
    token: tokenFrom(identityToken ?? ''),
    audience: 'sigstore',
    ...common,
  })
  return { verifier, version, signer }
}
