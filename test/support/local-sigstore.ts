/**
 * A whole sigstore on loopback with keys made at its start, and a registry's signing keys beside it.
 * Everything it makes is honest unless asked otherwise; the options and `tamper` make material that
 * is wrong in exactly one place. Its services run in a child process that ends with this one.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { seal, type Bundle, type BundleVersion, type Lab } from './sigstore/bundle.ts'
import type { EntryKind } from './sigstore/log-entry.ts'
import {
  githubCertificate,
  gitlabCertificate,
  type CertificateRequest,
  type GithubPublisher,
  type GitlabPublisher,
} from './sigstore/publisher.ts'
import {
  keysEndpoint,
  keysTarget,
  newKey,
  registrySignature,
  type KeyOptions,
  type KeysEndpoint,
  type KeysTarget,
  type LocalKey,
} from './sigstore/registry-keys.ts'
import {
  githubV02,
  githubV1,
  gitlabV02,
  inTotoPayload,
  publishStatement,
  type Artifact,
  type Statement,
} from './sigstore/statements.ts'

export {
  circleciCertificate,
  emailCertificate,
  githubCertificate,
  gitlabCertificate,
  githubIssuer,
  oidcToken,
  subjectCertificate,
} from './sigstore/publisher.ts'
export type {
  CertificateRequest,
  CircleciPublisher,
  GithubPublisher,
  GitlabPublisher,
} from './sigstore/publisher.ts'
export {
  integrityOf,
  publishPredicate,
  purl,
  sha512Hex,
  slsaV02,
  slsaV1,
} from './sigstore/statements.ts'
export type { Artifact, Statement } from './sigstore/statements.ts'
export type { Bundle, BundleVersion } from './sigstore/bundle.ts'
export type { KeyUsage, KeysEndpoint, KeysTarget, LocalKey } from './sigstore/registry-keys.ts'

/** One element of a registry's `/-/npm/v1/attestations/` answer. */
export type Attestation = { readonly predicateType: string; readonly bundle: Bundle }

/** Places to do wrong. Those before signing give a bundle that verifies and says the wrong thing. */
export type Tamper = {
  /** Before signing. */
  readonly statement?: (statement: Statement) => object
  /** Before signing; the bytes that are signed. */
  readonly payload?: (payload: Buffer) => Buffer
  readonly payloadType?: string
  readonly certificate?: (request: CertificateRequest) => CertificateRequest
  /** `false`: a certificate no certificate log has seen. */
  readonly sct?: boolean
  /** After signing; changes the bundle in place or gives another. */
  readonly bundle?: (bundle: Bundle) => Bundle | void
  /** What the registry's answer says beside the bundle; default is what the statement says. */
  readonly predicateType?: string
}

export type SealingOptions = {
  /** Default 0.3 for certificates and 0.2 for keys, as npm's registry has them today. */
  readonly bundle?: BundleVersion
  /** Default: `intoto` in bundles 0.1, else `dsse`; `dsse-v2` is Rekor v2, which tells no time. */
  readonly entry?: EntryKind | 'none'
  /** An RFC 3161 stamp; default only with `dsse-v2`. */
  readonly timestamp?: boolean
  /** The clock of all services while this is made; default now. */
  readonly signedAt?: Date | string
  readonly tamper?: Tamper
}

export type ProvenanceOptions = Artifact &
  SealingOptions & {
    /** Default: GitHub repository `acme/<name without scope>`. */
    readonly publisher?: GithubPublisher
    readonly gitlab?: GitlabPublisher
    readonly predicate?: 'v1' | 'v0.2'
    /** Signs with a registry key instead of a certificate. */
    readonly key?: LocalKey
  }

export type PublishOptions = Artifact &
  SealingOptions & {
    /** What the predicate says; an origin without a trailing slash, as npm's registry writes it. */
    readonly registry: string
    /** Default: the registry's first key. */
    readonly key?: LocalKey
    /** Signs with a certificate instead. */
    readonly publisher?: GithubPublisher
  }

export type AttestOptions = SealingOptions & {
  readonly statement: Statement
  readonly signer: { readonly certificate: CertificateRequest } | { readonly key: LocalKey }
}

export type LocalSigstore = {
  /** Fulcio, Rekor v1 and v2 and the timestamp authority; no trailing slash. */
  readonly url: string
  /** trusted_root.json */
  readonly trustedRoot: object
  /** The registry's keys, first one in use. */
  readonly keys: readonly LocalKey[]
  /** Makes a key and adds it to the registry's, unless `listed` is false. */
  addKey(options?: KeyOptions & { readonly listed?: boolean }): LocalKey
  registryKeys(): KeysTarget
  keysEndpoint(): KeysEndpoint
  signRegistry(
    name: string,
    version: string,
    integrity: string,
    key?: LocalKey,
  ): { readonly keyid: string; readonly sig: string }
  attestProvenance(options: ProvenanceOptions): Promise<Attestation>
  attestPublish(options: PublishOptions): Promise<Attestation>
  /** Any statement by any signer: vouches, verification summaries, other predicates. */
  attest(options: AttestOptions): Promise<Attestation>
  /** A TUF repository with trusted_root.json and these targets; `root` is its 1.root.json. */
  tuf(targets?: Readonly<Record<string, string>>): Promise<{ mirror: string; root: object }>
  close(): Promise<void>
}

const startTimeout = 30_000

const startServices = async (): Promise<{
  child: ChildProcess
  url: string
  trustedRoot: object
}> => {
  const file = fileURLToPath(new URL('./sigstore/services.ts', import.meta.url))
  const child = fork(file, [], { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  try {
    const ready = await new Promise<{ url: string; trustedRoot: object }>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error('the local sigstore did not start in time')),
        startTimeout,
      )
      child.once('message', message => {
        clearTimeout(timer)
        resolve(message as { url: string; trustedRoot: object })
      })
      child.once('error', reject)
      child.once('exit', code => reject(new Error(`the local sigstore ended with ${code}`)))
    })
    // a test that forgets close() still ends; the child follows when the channel closes
    child.unref()
    child.channel?.unref()
    return { child, ...ready }
  } catch (error) {
    child.kill()
    throw error
  }
}

const labAt =
  (url: string): Lab =>
  async <T>(path: string, body: object, at: Date | undefined) => {
    const query = at === undefined ? '' : `?at=${at.toISOString()}`
    const response = await fetch(`${url}/lab/${path}${query}`, {
      method: 'POST',
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(startTimeout),
    })
    if (!response.ok) throw new Error(`local sigstore: ${path}: ${await response.text()}`)
    return (await response.json()) as T
  }

const attestBy =
  (lab: Lab) =>
  async ({
    statement,
    signer,
    tamper = {},
    ...options
  }: AttestOptions): Promise<Attestation> => {
    const keyed = 'key' in signer
    const version = options.bundle ?? (keyed ? '0.2' : '0.3')
    const entry = options.entry ?? (version === '0.1' ? 'intoto' : 'dsse')
    const said = tamper.statement?.(statement) ?? statement
    const payload = Buffer.from(JSON.stringify(said))
    const bundle = await seal(lab, {
      payload: tamper.payload?.(payload) ?? payload,
      payloadType: tamper.payloadType ?? inTotoPayload,
      signer: keyed
        ? signer
        : {
            certificate: tamper.certificate?.(signer.certificate) ?? signer.certificate,
            sct: tamper.sct ?? true,
          },
      version,
      entry,
      timestamp: options.timestamp ?? entry === 'dsse-v2',
      signedAt: options.signedAt === undefined ? undefined : new Date(options.signedAt),
    })
    return {
      predicateType:
        tamper.predicateType ??
        (said as Partial<Statement>).predicateType ??
        statement.predicateType,
      bundle: tamper.bundle?.(bundle) ?? bundle,
    }
  }

const defaultPublisher = (name: string): GithubPublisher => ({
  repository: `acme/${name.split('/').at(-1)}`,
})

export const localSigstore = async (): Promise<LocalSigstore> => {
  const { child, url, trustedRoot } = await startServices()
  const lab = labAt(url)
  const attest = attestBy(lab)
  const first = newKey()
  const keys = [first]

  const attestProvenance = (options: ProvenanceOptions) => {
    const { gitlab, key, publisher = defaultPublisher(options.name) } = options
    const statement =
      gitlab !== undefined
        ? gitlabV02(options, gitlab)
        : options.predicate === 'v0.2'
          ? githubV02(options, publisher)
          : githubV1(options, publisher)
    const certificate =
      gitlab === undefined ? githubCertificate(publisher) : gitlabCertificate(gitlab)
    return attest({
      ...options,
      statement,
      signer: key === undefined ? { certificate } : { key },
    })
  }

  return {
    url,
    trustedRoot,
    keys,
    addKey: ({ listed = true, ...options } = {}) => {
      const key = newKey(options)
      if (listed) keys.push(key)
      return key
    },
    registryKeys: () => keysTarget(keys),
    keysEndpoint: () => keysEndpoint(keys),
    signRegistry: (name, version, integrity, key = first) =>
      registrySignature(key, name, version, integrity),
    attestProvenance,
    attestPublish: ({ registry, key = first, publisher, ...options }) =>
      attest({
        ...options,
        statement: publishStatement(options, registry),
        signer:
          publisher === undefined ? { key } : { certificate: githubCertificate(publisher) },
      }),
    attest,
    tuf: (targets = {}) => lab('tuf', targets, undefined),
    close: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      await new Promise<void>(done => {
        child.ref()
        child.once('exit', () => done())
        child.kill()
      })
    },
  }
}
