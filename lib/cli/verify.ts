/** `attestry verify`: a tarball on disk, its signatures and who built it, without unpacking it. */
import { resolve } from 'node:path'
import type { Settings } from '../config/settings.ts'
import { AttestryError } from '../errors.ts'
import { openReservations } from '../gate/routing.ts'
import type { Policy } from '../policy/policy.ts'
import { openStore } from '../open-store.ts'
import { loadPolicies, publishedPolicies } from '../open-policies.ts'
import { examinerFor, openTrustRoom } from '../rooms.ts'
import type { Decision, PackageId } from '../types.ts'
import { helpText, parseArguments } from './arguments.ts'
import type { Io, Run } from './io.ts'
import { packageSpec } from './package-spec.ts'
import { sessionJack, sessionSettings } from './session.ts'
import { decide, examineTarball } from './verify/examination.ts'
import { verifyJson, verifyText, type Verified } from './verify/report.ts'
import { fromFiles, fromUpstream, type Sources } from './verify/sources.ts'
import { openTarball, type TarballFile } from './verify/tarball-file.ts'
import { lookOf } from './why/look.ts'

const options = () =>
  sessionJack(
    'attestry verify <tarball> [options]',
    'Verify a tarball on disk: integrity, registry signature, publish attestation, provenance and manifest, and judge it by the policy where one is given. Nothing is unpacked. With --bundle only files are read; otherwise the upstream is asked.',
  )
    .opt({
      bundle: {
        short: 'b',
        hint: 'file',
        description: 'Sigstore bundles, or the attestations as a registry answers them.',
      },
      packument: {
        hint: 'file',
        description: 'With --bundle: the packument, for registry signature and manifest.',
      },
      package: { hint: 'name@version', description: 'What it is; default: its package.json.' },
      'trusted-root': {
        hint: 'file',
        description: 'A sigstore trusted_root.json, in place of the configured roots.',
      },
      keys: { hint: 'file', description: 'Registry keys, in place of the configured ones.' },
    })
    .flag({ json: { description: 'Print JSON.' } })

const EXIT: Readonly<Record<Decision, number>> = { allow: 0, refuse: 1, unavailable: 2 }

type Values = ReturnType<ReturnType<typeof options>['parse']>['values']

/** The settings with the trust that the options name. */
const trusting = (settings: Settings, { keys, 'trusted-root': root }: Values, cwd: string) => {
  const file = (path: string) => ({ kind: 'file' as const, file: resolve(cwd, path) })
  const upstreams = settings.upstreams.map(upstream => ({
    ...upstream,
    ...(root !== undefined && { trustRoots: [file(root)] }),
    ...(keys !== undefined && { registryKeys: file(keys) }),
  }))
  return { ...settings, upstreams }
}

/** The upstream that a package of this name comes from, and the one whose keys and roots count for it. */
const upstreamsOf = (settings: Settings, policies: readonly Policy[], name: string) => {
  const terms = new Map(settings.upstreams.map(upstream => [upstream.name, upstream]))
  const reserved = openReservations({ terms, policies: () => policies }).reservedFor(name)
  const upstream = reserved === undefined ? settings.upstreams[0] : terms.get(reserved)
  const trusted = terms.get(upstream?.evidenceFrom ?? upstream?.name ?? '')
  if (upstream && trusted) return { upstream, trusted }
  throw new AttestryError(
    'ECONFIG',
    `${name} is reserved for the upstream ${reserved}, which is not configured.`,
  )
}

const policiesOf = async (settings: Settings): Promise<readonly Policy[]> => {
  const names = settings.upstreams.map(({ name }) => name)
  if (settings.policySource === 'files') return loadPolicies(settings.policies, names)
  const store = await openStore(settings.storage)
  try {
    return (await publishedPolicies(store, settings)).layers.policies
  } finally {
    await store.close()
  }
}

const verifyTarball = async (
  tarball: TarballFile,
  settings: Settings,
  values: Values,
  io: Io,
): Promise<Verified> => {
  const policies = await policiesOf(settings)
  const id: PackageId =
    values.package === undefined ? await tarball.named() : packageSpec(values.package)
  const { upstream, trusted } = upstreamsOf(settings, policies, id.name)
  const { bundle, packument } = values
  // what is remembered was verified under the configured trust, and is of use only to a policy
  const overridden = values.keys !== undefined || values['trusted-root'] !== undefined
  const keep = policies.length > 0 && !overridden
  const file = (path: string) => resolve(io.cwd, path)
  const sources: Sources =
    bundle === undefined
      ? // the policies are at hand already
        await fromUpstream({ ...settings, policySource: 'files' }, id, tarball, keep)
      : await fromFiles(
          {
            bundle: file(bundle),
            ...(packument !== undefined && { packument: file(packument) }),
          },
          id,
          tarball,
          upstream.name,
        )
  const examiner = await examinerFor(
    { ...settings, verification: { ...settings.verification, workers: 1 } },
    trusted,
    await openTrustRoom(settings, [trusted]),
  )
  try {
    const evidence = await examineTarball(examiner, tarball, id, sources)
    const examination = decide(id, evidence, sources, policies, new Date())
    return { package: id, tarball, sources, examination }
  } finally {
    await examiner.close()
  }
}

export const verify: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const [file, ...more] = positionals
  if (file === undefined || more.length > 0)
    throw new AttestryError('EUSAGE', `verify wants one tarball; found ${positionals.length}`)
  if (values.packument !== undefined && values.bundle === undefined)
    throw new AttestryError('EUSAGE', '--packument is for use with --bundle')
  const settings = trusting(await sessionSettings(values, io), values, io.cwd)
  const tarball = await openTarball(resolve(io.cwd, file), settings.limits.unpacked)
  try {
    const verified = await verifyTarball(tarball, settings, values, io)
    io.stdout.write(
      values.json
        ? `${JSON.stringify(verifyJson(verified), null, 2)}\n`
        : verifyText(verified, lookOf(io)),
    )
    return EXIT[verified.examination.decision]
  } finally {
    await tarball.close()
  }
}
