/** A short-lived certificate from a Fulcio: a key made here, an identity token, proof that both are one's own. */
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { z } from 'zod'
import { AttestryError } from '../errors.ts'
import { readToken } from './identity-token.ts'
import { askService, readAnswer, serviceAddress, type ServiceLimits } from './service.ts'
import { signingKeyOf, type SigningKey } from './signing-key.ts'

export type Certified = {
  readonly key: SigningKey
  /** The leaf. */
  readonly certificate: X509Certificate
}

const chain = z.object({
  chain: z.object({ certificates: z.array(z.string()).min(1).max(16) }),
})
const answers = z.union([
  z.object({ signedCertificateEmbeddedSct: chain }),
  z.object({ signedCertificateDetachedSct: chain }),
])

/** Throws ESIGNIDENTITY for the token, ESIGNSERVICE for what Fulcio answers. */
export const certify = async (
  fulcio: string,
  token: string,
  audience: string | undefined,
  limits: ServiceLimits,
  now: Date,
): Promise<Certified> => {
  const service = 'Fulcio'
  const { subject } = readToken(token, audience, now)
  const key = signingKeyOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
  const answer = await askService(
    {
      service,
      url: serviceAddress(service, fulcio, '/api/v2/signingCert'),
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        credentials: { oidcIdentityToken: token },
        publicKeyRequest: {
          publicKey: { algorithm: 'ECDSA', content: key.publicKey },
          proofOfPossession: key.sign(Buffer.from(subject)).toString('base64'),
        },
      }),
    },
    limits,
  )
  const certificate = readAnswer(service, answer, json => {
    const said = answers.parse(json)
    const { chain } =
      'signedCertificateEmbeddedSct' in said
        ? said.signedCertificateEmbeddedSct
        : said.signedCertificateDetachedSct
    return new X509Certificate(chain.certificates[0] ?? '')
  })
  if (!certificate.publicKey.export({ format: 'der', type: 'spki' }).equals(key.spki))
    throw new AttestryError('ESIGNSERVICE', `${service}: the certificate is for another key`)
  return { key, certificate }
}
