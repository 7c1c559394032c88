/** The settings of verification summaries: part of the schema in schema.ts. */
import { z } from 'zod'
import { leafInfo, path, secret } from './leaves.ts'

const webAddress = (description: string) =>
  z
    .string({ error: 'wanted a URL' })
    .refine(text => /^https?:$/.test(URL.parse(text)?.protocol ?? ''), {
      error: 'wanted an http or https URL',
    })
    .describe(description)
    .register(leafInfo, { type: 'URL' })

const verifier = z
  .string({ error: 'wanted a URI' })
  .refine(text => URL.canParse(text) && !/[#?]|\/$/.test(text), {
    error: 'wanted a URI without ? and #, not ending in a slash',
  })
  .describe(
    'Who verified, as a URI: `verifier.id` in the summaries. Who takes them for proof must know it together with the key or identity that signs.',
  )
  .register(leafInfo, { type: 'URI' })

export const summaries = z
  .strictObject({
    verifier,
    key: path(
      'Private key that signs them, as PEM: ECDSA on P-256. Either this or `fulcio`.',
      'file',
    ).optional(),
    passphrase: secret('The passphrase of that key, where it is encrypted.').optional(),
    fulcio: webAddress(
      'A Fulcio that certifies a fresh key for the identity in `identityToken`. Needs `rekor`.',
    ).optional(),
    identityToken: path(
      'File with an OIDC token for the audience `sigstore`, read for each certificate: such as Kubernetes keeps fresh.',
      'file',
    ).optional(),
    rekor: webAddress(
      'A Rekor (v1) that every summary is logged in. Names of private packages are then in it too.',
    ).optional(),
    timestamp: webAddress(
      'An RFC 3161 timestamp authority that stamps every summary.',
    ).optional(),
  })
  .superRefine(({ key, passphrase, fulcio, identityToken, rekor }, context) => {
    const say = (message: string, at: string) =>
      context.addIssue({ code: 'custom', message, path: [at] })
    if ((key === undefined) === (fulcio === undefined))
      say('wanted either key or fulcio', key === undefined ? 'verifier' : 'fulcio')
    if (passphrase && key === undefined) say('wanted key with it', 'passphrase')
    if ((fulcio === undefined) !== (identityToken === undefined))
      say(
        'wanted fulcio and identityToken together',
        fulcio === undefined ? 'identityToken' : 'fulcio',
      )
    if (fulcio !== undefined && rekor === undefined) say('wanted rekor with it', 'fulcio')
  })
  .describe(
    'Signed verdicts: SLSA verification summaries of what is admitted; off without this.',
  )
  .optional()
