/**
 * yarn.lock of yarn 2 to 4. `resolution` is the locator that is fetched: `name@npm:1.0.0`, with
 * `::__archiveUrl=…` behind it where the registry serves the tarball at an address that yarn
 * cannot derive. `checksum` is of the zip archive yarn makes of it, not of the tarball.
 */
import { asMapping, field, show, textAt, type Mapping, type Source } from './located.ts'
import type { LockedKind, Lockfile, Span } from './lockfile.ts'
import { splitAt } from './names.ts'
import { isFileAddress, isGitAddress, packageOf, versionText } from './package.ts'

/** Longer than any address. */
const MAX_REFERENCE = 8192

type Locator = {
  readonly kind: LockedKind
  readonly version?: string
  readonly resolved?: string
  /** The encoded address together with the `::` before it, where it stands alone. */
  readonly binding?: string
}

const localKinds: readonly (readonly [RegExp, LockedKind])[] = [
  [/^workspace:/, 'workspace'],
  [/^(?:link|portal):/, 'link'],
  // a patch is made from another entry, exec by a script of the project
  [/^(?:patch|exec):/, 'file'],
]

const readReference = (source: Source, at: number, reference: string): Locator => {
  if (reference.startsWith('npm:')) {
    const [selector = '', ...bindings] = reference.slice('npm:'.length).split('::')
    if (bindings.length === 0) return { kind: 'registry', version: selector }
    const parameters = new URLSearchParams(bindings.join('::'))
    const resolved = parameters.get('__archiveUrl')
    if (resolved === null) return { kind: 'registry', version: selector }
    if (parameters.getAll('__archiveUrl').length > 1)
      throw source.complaint(at, 'two addresses', 'one __archiveUrl')
    const isAlone = bindings.length === 1 && parameters.size === 1
    return {
      kind: 'registry',
      version: selector,
      resolved,
      ...(isAlone ? { binding: `::${bindings[0]}` } : {}),
    }
  }
  const local = localKinds.find(([form]) => form.test(reference))
  if (local !== undefined) return { kind: local[1], resolved: reference }
  if (/#(?:.*&)?commit=/.test(reference) || isGitAddress(reference))
    return { kind: 'git', resolved: reference }
  return { kind: isFileAddress(reference) ? 'file' : 'url', resolved: reference }
}

export const readYarnBerry = (source: Source, root: Mapping): Lockfile => {
  const metadata = root.entries.get('__metadata')
  const head = metadata && asMapping(source, metadata.value, '__metadata')
  const stated = head && field(head, 'version')
  const formatVersion = versionText(source, stated, metadata?.at ?? root.start)
  if (!/^(?:[4-9]|10)$/.test(formatVersion))
    throw source.complaint(
      stated?.start ?? root.start,
      `__metadata version ${formatVersion}`,
      '4 to 10 (yarn 2 to 4)',
    )
  const packages = Array.from(root.entries, ([key, { at, value }]) => {
    if (key === '__metadata') return []
    const entry = asMapping(source, value, show(key))
    const node = field(entry, 'resolution')
    const resolution = textAt(source, entry, 'resolution')
    const split = resolution === undefined ? undefined : splitAt(resolution)
    if (node === undefined || split === undefined)
      throw source.complaint(node?.start ?? at, 'no locator', 'resolution: name@source')
    if (split.rest.length > MAX_REFERENCE)
      throw source.complaint(
        node.start,
        show(split.rest),
        `at most ${MAX_REFERENCE} characters`,
      )
    const { binding, ...locator } = readReference(source, node.start, split.rest)
    if (locator.resolved === 'workspace:.') return []
    const offset = binding === undefined ? -1 : source.text.indexOf(binding, node.start)
    const resolvedAt: Span[] =
      binding === undefined || offset === -1 || offset + binding.length > node.end
        ? []
        : [{ start: offset, end: offset + binding.length }]
    const alias = key
      .split(/ *, */)
      .map(descriptor => splitAt(descriptor)?.name)
      .find(name => name !== undefined && name !== split.name)
    const stated = textAt(source, entry, 'version')
    const version = locator.version ?? (stated === '0.0.0-use.local' ? undefined : stated)
    const checksum = textAt(source, entry, 'checksum')
    const common = {
      at,
      key,
      ...locator,
      name: split.name,
      version,
      checksum,
      resolvedAt,
      alias,
    }
    return [packageOf(source, common)]
  }).flat()
  return { file: source.file, format: 'yarn-berry', formatVersion, packages }
}
