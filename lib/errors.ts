/**
 * One table: code → HTTP status → what to do. Every error a user can meet has its code here, and
 * docs/errors.md lists the same table (a test holds the two together).
 */
export const errorTable = {
  EREFUSED: {
    status: 403,
    todo: 'Open the link in the message: it shows the rule, what was wanted and what was found.',
  },
  EUNCHECKED: {
    status: 503,
    todo: 'Try again: the evidence could not be fetched, which is not a finding against the package.',
  },
  EUPSTREAM: {
    status: 503,
    todo: 'Check that the upstream registry is up; cached packages are still served.',
  },
  EUPSTREAMTIMEOUT: {
    status: 504,
    todo: 'The upstream did not answer in time; raise upstreams.<name>.timeout or try again.',
  },
  EUPSTREAMSIZE: {
    status: 502,
    todo: 'The upstream sent more than limits allow; raise the limit named in the message.',
  },
  EUPSTREAMAUTH: {
    status: 502,
    todo: 'The upstream refused our credentials; check upstreams.<name>.token.',
  },
  EUPSTREAMDATA: {
    status: 502,
    todo: 'The upstream sent something that is not what the registry protocol says.',
  },
  ELOOP: {
    status: 508,
    todo: 'The upstream is this server itself; set upstreams.<name>.url to a registry.',
  },
  ENOTFOUND: { status: 404, todo: 'Check the name and version.' },
  EUNAUTHORIZED: {
    status: 401,
    todo: 'Set _authToken for this registry to a token of `attestry token create`, or to an OIDC token it takes.',
  },
  EISSUER: {
    status: 503,
    todo: 'Try again: the issuer of OIDC tokens did not give its keys, so the token could not be checked.',
  },
  EARCHIVE: {
    status: 400,
    todo: 'Make the archive again with `attestry store export`, and carry it over whole.',
  },
  EOFFLINE: {
    status: 404,
    todo: 'Bring it with `attestry store import`, or set cache.offline to false.',
  },
  EBADREQUEST: { status: 400, todo: 'Check the address that was asked for.' },
  EMETHOD: {
    status: 405,
    todo: 'This server does not take that here: see upstreams.<name>.passThrough, or ask the registry itself.',
  },
  EFILTERED: {
    status: 409,
    todo: 'Nothing was changed: ask for the whole document with ?write=true, or change it at the registry itself.',
  },
  ECREDENTIALS: {
    status: 401,
    todo: 'Clients log in at an upstream only where upstreams.<name>.clientCredentials is forward.',
  },
  ETOOLARGE: {
    status: 413,
    todo: 'The request is larger than limits allow; raise the limit named in the message.',
  },
  ECONFIG: {
    status: 500,
    todo: 'Correct the setting at the place named: a file, a variable or an option.',
  },
  EPOLICY: { status: 500, todo: 'Correct the policy file at the place named.' },
  ESUPERSEDED: {
    status: 409,
    todo: 'Look at what was published meanwhile (`attestry policy status`), and publish again on top of it.',
  },
  ESIGNING: {
    status: 409,
    todo: 'Correct the signing keys or settings named, or publish a new version: what was signed once is not signed for other bytes.',
  },
  ETRUST: { status: 500, todo: 'Correct the trust root or key file named.' },
  EREKOR: {
    status: 503,
    todo: 'Try again: the transparency log did not answer, which is no finding against a package.',
  },
  ELOG: {
    status: 500,
    todo: 'Run `attestry log verify` for the audit log; of another log, ask those who run it.',
  },
  ELOGKEY: {
    status: 500,
    todo: 'Give this instance the key that the others have (auditLog.key); where it was replaced on purpose, name the old one in auditLog.formerKeys: docs/audit-log.md.',
  },
  ETUF: {
    status: 503,
    todo: 'Check that the TUF mirror or archive is reachable, fresh and whole; the last good trust root stays in force.',
  },
  ESTORE: { status: 500, todo: 'Check that the storage path is writable and has room.' },
  ESTOREDOWN: {
    status: 503,
    todo: 'Try again: PostgreSQL or the object store of this server is away; what was admitted before is still served.',
  },
  ESTOPPING: {
    status: 503,
    todo: 'Ask another instance: this one is told to stop and takes no new clients.',
  },
  ESERVER: {
    status: 502,
    todo: 'Check that an Attestry server runs at the address given.',
  },
  ESIGNKEY: {
    status: 400,
    todo: 'Correct the key file named, or give its passphrase; wanted an ECDSA key on P-256.',
  },
  ESIGNIDENTITY: {
    status: 400,
    todo: 'Give an identity token made for this: in CI with the right to ask for one, by --identity-token-file, or by logging in at a terminal.',
  },
  ESIGNSERVICE: {
    status: 502,
    todo: 'Check the address of the signing service named and that it is up; nothing was signed.',
  },
  EVOUCH: {
    status: 400,
    todo: 'Nothing was kept: correct what the message names, and see docs/commands/vouch.md.',
  },
  ELOCKFILE: {
    status: 400,
    todo: 'Correct the lockfile at the place named, or have its client write it anew.',
  },
  EUSAGE: {
    status: 400,
    todo: 'Run attestry --help for the commands, attestry COMMAND --help for its options.',
  },
  EINTERNAL: { status: 500, todo: 'This is a defect; the log has the details.' },
} as const

export type ErrorCode = keyof typeof errorTable

/** Every error this program raises on purpose. `message` is one sentence; `code` is in the table. */
export class AttestryError extends Error {
  readonly code: ErrorCode
  readonly details: Readonly<Record<string, unknown>>

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; details?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'AttestryError'
    this.code = code
    this.details = options.details ?? {}
  }

  get status(): number {
    return errorTable[this.code].status
  }

  get todo(): string {
    return errorTable[this.code].todo
  }
}

export const isAttestryError = (error: unknown): error is AttestryError =>
  error instanceof AttestryError

/** The message of anything that was thrown. */
export const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error)
