/** What the registry answers to each request. */
import type { LocalSigstore } from '../local-sigstore.ts'
import { manifestOf, packumentOf, tarballPath, type PackageRecord } from './documents.ts'
import { jsonAnswer, type Answer, type Faults, type SeenRequest } from './server.ts'

export type Contents = {
  readonly packages: ReadonlyMap<string, PackageRecord>
  readonly sigstore: LocalSigstore | undefined
  /** The document under this key, made once until something is published. */
  readonly cached: (key: string, make: () => unknown) => Buffer
  /** The registry's own URL, known once it listens. */
  readonly base: () => string
}

export const routesOf = ({
  packages,
  sigstore,
  cached,
  base,
}: Contents): ((request: SeenRequest, faults: Faults) => Answer) => {
  const metadata = (
    request: SeenRequest,
    name: string,
    part: string | undefined,
    now: Faults,
  ) => {
    const found = packages.get(name)
    if (found === undefined) return jsonAnswer(404, { error: 'Not found' })
    const strip = { signatures: now.stripSignatures, attestations: now.stripAttestations }
    if (part !== undefined) {
      const wanted = found.releases.get(found.tags.get(part) ?? part)
      return wanted === undefined
        ? jsonAnswer(404, { error: `version not found: ${part}` })
        : jsonAnswer(200, manifestOf(wanted, base(), base(), strip))
    }
    const form = /vnd\.npm\.install-v1/.test(request.headers.accept ?? '')
      ? 'abbreviated'
      : 'full'
    const key = [name, form, strip.signatures, strip.attestations].join(' ')
    const body = cached(key, () => packumentOf(found, base(), base(), form, strip))
    return { kind: 'json', status: 200, body } as const
  }

  return (request, now) => {
    const { path, method } = request
    const missing = jsonAnswer(404, { error: 'Not found' })
    if (method === 'POST') {
      return path.startsWith('/-/npm/v1/security/') ? jsonAnswer(200, {}) : missing
    }
    if (method !== 'GET' && method !== 'HEAD') return jsonAnswer(405, { error: 'read only' })
    if (path === '/-/ping') return jsonAnswer(200, {})
    if (path === '/-/npm/v1/keys') {
      return now.keysStatus === undefined && sigstore !== undefined
        ? jsonAnswer(200, sigstore.keysEndpoint())
        : jsonAnswer(now.keysStatus ?? 404, { error: 'no keys' })
    }
    const attested = /^\/-\/npm\/v1\/attestations\/(.+)@([^@]+)$/.exec(path)
    if (attested !== null) {
      if (now.attestationsStatus !== undefined) {
        return jsonAnswer(now.attestationsStatus, { error: 'no attestations' })
      }
      const of = packages.get(attested[1] ?? '')?.releases.get(attested[2] ?? '')
      return of === undefined || of.attestations.length === 0
        ? missing
        : jsonAnswer(200, { attestations: of.attestations })
    }
    const tags = /^\/-\/package\/(.+)\/dist-tags$/.exec(path)
    if (tags !== null) {
      const of = packages.get(tags[1] ?? '')
      return of === undefined ? missing : jsonAnswer(200, Object.fromEntries(of.tags))
    }
    if (path.startsWith('/-/')) return missing
    const file = /^\/((?:@[^/]+\/)?[^/@][^/]*)\/-\/(?:@[^/]+\/)?([^/]+)$/.exec(path)
    if (file !== null) {
      const named = [...(packages.get(file[1] ?? '')?.releases.values() ?? [])].find(
        ({ name, version }) => tarballPath(name, version).endsWith(`/-/${file[2]}`),
      )
      return named?.tarball === undefined ? missing : { kind: 'tarball', body: named.tarball }
    }
    const named = /^\/((?:@[^/]+\/)?[^/@][^/]*)(?:\/([^/]+))?$/.exec(path)
    return named === null ? missing : metadata(request, named[1] ?? '', named[2], now)
  }
}
