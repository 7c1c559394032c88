/** The verification worker: trust material in at its start, then requests in and facts out. */
import { parentPort, workerData } from 'node:worker_threads'
import type { TrustMaterial } from '../types.ts'
import { examineWith } from './examine.ts'
import type { ExamineRequest } from './examiner.ts'
import { inspectTarball } from './manifest.ts'
import type { TarballLimits } from './tarball-limits.ts'
import { serve } from './pool-messages.ts'
import { giveBack } from './tarball.ts'
import { openVerification } from './verification.ts'
import { verifyVouches, type VouchRequest } from './vouch.ts'

export type WorkerData = {
  readonly trust: TrustMaterial
  readonly registries: readonly string[] | undefined
  readonly limits: TarballLimits
}

type InspectRequest = {
  readonly claimed: Readonly<Record<string, unknown>>
  readonly bytes: Uint8Array
}

if (parentPort === null) throw new Error('worker.ts runs as a worker thread only')

const { trust, registries, limits } = workerData as WorkerData
const verification = openVerification(trust, registries)

serve(parentPort, {
  calls: {
    examine: (request: ExamineRequest) => examineWith(verification, request),
    vouches: (request: VouchRequest) => verifyVouches(verification, request),
    inspect: async ({ claimed, bytes }: InspectRequest) => {
      const fact = await inspectTarball(bytes, claimed, limits)
      // of what was refused half-way a decompressing thread may still be reading
      if (fact.state === 'verified') giveBack(bytes)
      return fact
    },
  },
  streams: {
    inspect: (claimed: Readonly<Record<string, unknown>>, tarball) =>
      inspectTarball(tarball, claimed, limits),
  },
})
