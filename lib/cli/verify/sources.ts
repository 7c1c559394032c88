/**
 * What is claimed about a tarball, and what is needed to judge it: from files alone, or from the
 * upstream. With a file of bundles nobody is asked anything.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Settings } from '../../config/settings.ts'
import { AttestryError, isAttestryError, messageOf } from '../../errors.ts'
import type { AttestationsFound } from '../../evidence/examiner.ts'
import type { Manifest } from '../../gate/claims.ts'
import type { Gate } from '../../gate/gate.ts'
import { claimsIn } from '../../gate/package-index.ts'
import { openPackument } from '../../gate/packument.ts'
import { openRooms, type Rooms } from '../../rooms.ts'
import type { JudgeInput, PackageId, Release, VersionClaims } from '../../types.ts'
import { readBundles } from './bundles.ts'
import type { TarballFile } from './tarball-file.ts'

export type Sources = Pick<JudgeInput, 'claims' | 'sighting' | 'history' | 'upstream'> & {
  readonly attestations: AttestationsFound
  /** The version's manifest in the packument; none when there was no packument. */
  readonly manifest?: Manifest
  /** Things to know about where this came from. */
  readonly notes: readonly string[]
}

const notThere = ({ name, version }: PackageId, where: string) =>
  new AttestryError('ENOTFOUND', `${name}@${version} is not in ${where}.`)

/** The claims, the manifest and the other versions that a packument tells of. */
const fromPackument = async (text: Buffer, id: PackageId, where: string) => {
  const packument = await openPackument(text, id.name)
  const { claims: all } = await claimsIn(packument)
  const [claims, manifest] = [all.get(id.version), packument.manifest(id.version)]
  if (!claims || !manifest) throw notThere(id, where)
  const history = Array.from(
    all.values(),
    ({ version, publishedAt, attestations }): Release => ({
      version,
      ...(publishedAt !== undefined && { publishedAt }),
      claimsProvenance: attestations?.provenance !== undefined,
    }),
  )
  return { claims, history, manifest }
}

const PUBLISH = 'https://github.com/npm/attestation/'
const PROVENANCE = 'https://slsa.dev/provenance/'

export type Files = { readonly bundle: string; readonly packument?: string | undefined }

/** From files alone: nobody is asked. `upstream`: where the package is taken to come from. */
export const fromFiles = async (
  { bundle, packument }: Files,
  id: PackageId,
  { integrity }: TarballFile,
  upstream: string,
): Promise<Sources> => {
  const { document, types } = await readBundles(bundle)
  const attestations = { kind: 'found', body: document } as const
  const others = types.filter(type => !type.startsWith(PUBLISH) && !type.startsWith(PROVENANCE))
  const ignored = others.map(
    type => `The bundle of type ${type} says nothing that is judged here.`,
  )
  if (packument === undefined) {
    const claims: VersionClaims = {
      version: id.version,
      integrity,
      tarball: '',
      signatures: [],
      attestations: { url: '' },
    }
    const note =
      'Without a packument there is no registry signature, no manifest and no other version to compare with.'
    return { claims, history: [], attestations, upstream, notes: [...ignored, note] }
  }
  const text = await readFile(packument).catch((error: unknown) => {
    throw new AttestryError('EUSAGE', `${packument}: ${messageOf(error)}`, { cause: error })
  })
  const found = await fromPackument(text, id, packument).catch((error: unknown) => {
    const unusable = isAttestryError(error) && error.code === 'EUPSTREAMDATA'
    throw unusable ? new AttestryError('EUSAGE', `${packument}: ${error.message}`) : error
  })
  const note = 'Who published the other versions was not looked at: only files were read.'
  return { ...found, attestations, upstream, notes: [...ignored, note] }
}

const fetchAttestations = async (
  gate: Gate,
  id: PackageId,
  claims: VersionClaims,
): Promise<AttestationsFound> => {
  if (!claims.attestations) return { kind: 'unclaimed' }
  try {
    const answer = await gate.attestations(id)
    if (answer.kind === 'found') return answer
    return { kind: 'unavailable', detail: 'They are claimed, and the upstream has none (404).' }
  } catch (error) {
    if (!isAttestryError(error)) throw error
    return { kind: 'unavailable', detail: messageOf(error) }
  }
}

const askRooms = async (
  rooms: Rooms,
  settings: Settings,
  id: PackageId,
  { integrity }: TarballFile,
): Promise<Sources> => {
  const gate = rooms.openGate(settings.publicUrl)
  const { input, notes } = await gate.assess(id, integrity)
  const { claims, sighting, history, upstream } = input
  const answer = await rooms.upstreams.get(upstream)?.packument(id.name)
  if (answer?.kind !== 'found') throw notThere(id, `upstream ${upstream}`)
  const { manifest } = await fromPackument(answer.body, id, `upstream ${upstream}`)
  const attestations = await fetchAttestations(gate, id, claims)
  return {
    claims,
    ...(sighting && { sighting }),
    history,
    upstream,
    attestations,
    manifest,
    notes,
  }
}

/**
 * From the upstream. `keep` uses the storage that is configured, with what it remembers; otherwise
 * everything goes to a folder that is removed afterwards.
 */
export const fromUpstream = async (
  settings: Settings,
  id: PackageId,
  tarball: TarballFile,
  keep: boolean,
): Promise<Sources> => {
  const folder = keep ? undefined : await mkdtemp(join(tmpdir(), 'attestry-verify-'))
  try {
    const storage =
      folder === undefined ? settings.storage : { ...settings.storage, path: folder }
    const rooms = await openRooms({ settings: { ...settings, storage } })
    try {
      return await askRooms(rooms, settings, id, tarball)
    } finally {
      await rooms.close()
    }
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  }
}
