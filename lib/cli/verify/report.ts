/** What verifying a tarball found, as text and as JSON. Pure. */
import type { Decision, PackageId } from '../../types.ts'
import { evidenceBranch } from '../why/evidence.ts'
import { bold, dim, markSpan } from '../why/look.ts'
import { policyBranches } from '../why/report.ts'
import { branch, renderTree, type Look, type Span } from '../why/tree.ts'
import type { Examination } from './examination.ts'
import type { Sources } from './sources.ts'
import type { TarballFile } from './tarball-file.ts'

export type Verified = {
  readonly package: PackageId
  readonly tarball: Pick<TarballFile, 'file' | 'integrity' | 'sha1' | 'size'>
  readonly sources: Sources
  readonly examination: Examination
}

const headline: Readonly<Record<Decision, readonly [mark: 'good' | 'bad' | 'unsure', Span]>> = {
  allow: ['good', { text: 'verified', style: 'bold' }],
  refuse: ['bad', { text: 'refused', style: 'red' }],
  unavailable: ['unsure', { text: 'could not be checked', style: 'magenta' }],
}

export const verifyText = (verified: Verified, look: Look): string => {
  const { package: id, tarball, sources, examination } = verified
  const { decision, because, summary, explanation } = examination
  const [mark, said] = headline[decision]
  const sha1 = branch([dim('sha1:'), tarball.sha1])
  const root = branch(
    [markSpan(mark, look), bold(`${id.name}@${id.version}`), said],
    [
      ...because.map(text =>
        branch({ text, style: decision === 'refuse' ? 'red' : 'magenta' }),
      ),
      branch(bold('Tarball'), [
        branch([dim('file:'), tarball.file]),
        branch([dim('integrity:'), tarball.integrity]),
        sha1,
        branch([dim('size:'), `${tarball.size} bytes`]),
      ]),
      evidenceBranch(summary, look),
      ...(explanation ? policyBranches(explanation, look) : []),
      ...sources.notes.map(note => branch(dim(note))),
    ],
  )
  return renderTree(root, look)
}

/** Stable; described in docs/commands/verify.md. */
export const verifyJson = ({ package: id, tarball, sources, examination }: Verified) => {
  const { decision, because, evidence, explanation } = examination
  const { file, integrity, sha1, size } = tarball
  return {
    package: id,
    tarball: { file, integrity, sha1, size },
    decision,
    because,
    evidence,
    ...(explanation && { explanation }),
    notes: sources.notes,
  }
}
