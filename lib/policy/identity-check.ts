/** What an identity in a policy must look like: nothing wider than it reads, nothing that cannot match. */
import type { Finding } from '../config/document.ts'
import { globFields, namingFields, versionFields } from './identity.ts'
import { identityFields, type IdentityField } from './policy.ts'

const words: Partial<Record<IdentityField, readonly [form: RegExp, wanted: string]>> = {
  issuer: [
    /^https:\/\/[^\s/]+(\/[^\s]*[^\s/])?$/,
    'wanted an address as in https://token.actions.githubusercontent.com, without a slash at its end',
  ],
  repository: [
    /^https:\/\/[^\s/]+(\/[^\s/]+){2,}$/,
    'wanted an address as in https://github.com/owner/name, without a slash at its end',
  ],
  owner: [
    /^https:\/\/[^\s/]+(\/[^\s/]+)+$/,
    'wanted an address as in https://github.com/owner, without a slash at its end',
  ],
  repositoryId: [/^[0-9]+$/, 'wanted digits'],
  ownerId: [/^[0-9]+$/, 'wanted digits'],
  workflow: [
    /^[^\s/@][^\s@]*$/,
    'wanted a path inside the repository as in .github/workflows/release.yml',
  ],
  ref: [
    /^refs\/[^\s/]+\/[^\s]+$/,
    'wanted a full ref as in refs/heads/main or refs/tags/v{version}',
  ],
  commit: [/^([0-9a-f]{40}|[0-9a-f]{64})$/, 'wanted 40 or 64 hex digits in lower case'],
  visibility: [/^(public|private|internal)$/, 'wanted public, private or internal'],
  subject: [/^\S+$/, 'wanted an address without spaces'],
  signer: [
    /^https:\/\/\S+$/,
    'wanted an address as in https://github.com/owner/name/.github/workflows/release.yml@refs/heads/main',
  ],
}

/** Where a pattern may begin: behind the host and the owner. */
const fixedStart = /^https:\/\/[^/*{}]+\/[^/*{}]+\//

const globMessage = (field: IdentityField, value: string): string | undefined => {
  if (!globFields.has(field)) return 'is compared exactly and takes no *'
  if (value.includes('***')) return 'wanted * (within a segment) or ** (across segments)'
  if (/(?<!\*)\*\{|\}\*(?!\*)|\*\*\{|\}\*\*/.test(value))
    return 'a * next to {version} would match other versions as well'
  if (field === 'workflow' && /^\*+$/.test(value))
    return 'matches every workflow; leave the field out to say so'
  if (field === 'ref' && !/^refs\/[^/*]+\//.test(value))
    return 'the kind of ref cannot be a pattern; wanted refs/heads/… or refs/tags/…'
  if (field === 'subject' && !value.startsWith('https://'))
    return 'a subject that is no URL is compared exactly and takes no *'
  if (['subject', 'signer', 'repository'].includes(field) && !fixedStart.test(value))
    return 'a pattern may begin only behind the host and the owner, as in https://github.com/owner/*'
  return undefined
}

const fieldMessage = (field: IdentityField, value: string): string | undefined => {
  const rest = versionFields.has(field) ? value.replaceAll('{version}', '') : value
  if (/[{}]/.test(rest))
    return versionFields.has(field)
      ? 'wanted {version} and no other braces'
      : 'takes no {version} and no braces'
  if (rest.length + '{version}'.length < value.length) return 'wanted {version} once'
  if (value.includes('*')) {
    const message = globMessage(field, value)
    if (message !== undefined) return message
  }
  if (field === 'repository' && value.endsWith('.git'))
    return 'wanted the address without .git, as the certificate has it'
  const [form, wanted] = words[field] ?? []
  return form === undefined || form.test(value) ? undefined : wanted
}

/** Findings about one identity, written out field by field, that stands at `at`. */
export const checkIdentity = (
  identity: Readonly<
    Partial<Record<IdentityField | 'key' | 'validFrom' | 'validUntil', string>>
  >,
  at: readonly PropertyKey[],
): Finding[] => {
  const fields = identityFields.filter(field => identity[field] !== undefined)
  const periods = (['validFrom', 'validUntil'] as const).filter(
    name => identity[name] !== undefined && identity.key === undefined,
  )
  if (periods.length > 0)
    return periods.map(name => ({
      path: [...at, name],
      message: `${name}: has a meaning beside key only; certificates have their own time`,
    }))
  if (fields.length === 0)
    return identity.key === undefined
      ? [{ path: at, message: 'an identity without any field would match everybody' }]
      : []
  const findings = fields.flatMap((field): Finding[] => {
    const value = identity[field] ?? ''
    const message = fieldMessage(field, value)
    return message === undefined
      ? []
      : [
          {
            path: [...at, field],
            message: `${field}: ${message}; found ${JSON.stringify(value)}`,
          },
        ]
  })
  if (identity.key !== undefined)
    findings.push({
      path: [...at, 'key'],
      message: 'a key stands alone: it names no certificate',
    })
  else if (identity.issuer === undefined)
    findings.push({
      path: at,
      message:
        'an identity needs its issuer, as in issuer: https://token.actions.githubusercontent.com',
    })
  else if (!namingFields.some(field => identity[field] !== undefined))
    findings.push({
      path: at,
      message: `names nobody: wanted one of ${namingFields.join(', ')} beside the issuer`,
    })
  return findings
}
