/** The commands, each loaded only when it is asked for: `--version` must not open a database. */
import type { Run } from './io.ts'

export type Command = {
  readonly summary: string
  load(): Promise<Run>
}

export const commands: Readonly<Record<string, Command>> = {
  serve: {
    summary: 'Run the registry proxy; this is what happens when no command is named.',
    load: async () => (await import('./serve.ts')).serve,
  },
  verify: {
    summary: 'Verify a tarball on disk: integrity, signatures, and who built it.',
    load: async () => (await import('./verify.ts')).verify,
  },
  'verify-bundle': {
    summary: 'Verify a sigstore bundle over any file, as other sigstore clients do.',
    load: async () => (await import('./verify-bundle.ts')).verifyBundle,
  },
  'sign-bundle': {
    summary: 'Sign any file keylessly into a sigstore bundle, as other sigstore clients do.',
    load: async () => (await import('./sign-bundle.ts')).signBundle,
  },
  audit: {
    summary: 'Judge every package version of a lockfile.',
    load: async () => (await import('./audit.ts')).audit,
  },
  learn: {
    summary: 'Write a policy that pins the publishers of what a lockfile holds.',
    load: async () => (await import('./learn.ts')).learn,
  },
  why: {
    summary: 'Explain why a version is served or refused, and what would admit it.',
    load: async () => (await import('./why.ts')).why,
  },
  policy: {
    summary: 'Check policy files, compare and test them; put them in force on all instances.',
    load: async () => (await import('./policy.ts')).policy,
  },
  vouch: {
    summary: 'Sign that a version nobody signed may be used; list and revoke what was signed.',
    load: async () => (await import('./vouch.ts')).vouch,
  },
  npmrc: {
    summary: 'Print the lines that make a package manager ask Attestry.',
    load: async () => (await import('./npmrc.ts')).npmrc,
  },
  token: {
    summary: 'Make, list and revoke the tokens that clients bring.',
    load: async () => (await import('./token.ts')).token,
  },
  keys: {
    summary: 'Make, list, rotate and export the keys that our own packages are signed with.',
    load: async () => (await import('./keys.ts')).keys,
  },
  sign: {
    summary: 'Sign versions of our own packages that are there already.',
    load: async () => (await import('./sign.ts')).sign,
  },
  log: {
    summary: 'Read the audit log and prove that nobody changed it.',
    load: async () => (await import('./log.ts')).log,
  },
  trust: {
    summary: 'Show what verification rests on, and renew it.',
    load: async () => (await import('./trust.ts')).trust,
  },
  store: {
    summary: 'Look at what is kept, clean it up, and carry it to another site.',
    load: async () => (await import('./store.ts')).store,
  },
}
