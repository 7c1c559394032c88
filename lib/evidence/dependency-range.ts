/** When do two dependency ranges, spelled differently, ask for the same? */
import validRange from 'semver/ranges/valid.js'

const hosts: Readonly<Record<string, string>> = {
  github: 'github.com',
  gitlab: 'gitlab.com',
  bitbucket: 'bitbucket.org',
  gist: 'gist.github.com',
}

/**
 * npm writes git dependencies anew when it publishes (hosted-git-info): `acme/lib`,
 * `github:acme/lib`, `git://github.com/acme/lib.git` and `git+ssh://git@github.com/acme/lib.git`
 * are one repository. Gives `host/path#committish`; undefined for what is no git address.
 */
const gitAddress = (spec: string): string | undefined => {
  const [address = '', ...committish] = spec.split('#')
  const suffix = committish.length === 0 ? '' : `#${committish.join('#')}`
  const tidy = (host: string, path: string) =>
    `${host}/${path
      .replace(/^\/+/, '')
      .replace(/\.git$/, '')
      .replace(/\/+$/, '')}`.toLowerCase() + suffix

  const shortcut = /^(?:(github|gitlab|bitbucket|gist):)?([\w.-]+\/[\w.-]+)$/.exec(address)
  if (shortcut?.[2] !== undefined && !address.startsWith('.'))
    return tidy(hosts[shortcut[1] ?? 'github'] ?? '', shortcut[2])
  const url = /^(?:git\+)?(?:https?|ssh|git):\/\/(?:[^@/]*@)?([^/:]+)(?::\d+)?[/:](.+)$/.exec(
    address,
  )
  if (url?.[1] !== undefined && url[2] !== undefined)
    return /\.git$|^git/.test(address) || Object.values(hosts).includes(url[1].toLowerCase())
      ? tidy(url[1], url[2])
      : undefined
  const scp = /^(?:git\+ssh:\/\/)?git@([^/:]+):(.+)$/.exec(address)
  return scp?.[1] !== undefined && scp[2] !== undefined ? tidy(scp[1], scp[2]) : undefined
}

/** `''` and `*` are any version (semver). */
export const sameRange = (a: string, b: string): boolean => {
  const [one, two] = [a.trim(), b.trim()]
  if (one === two) return true
  const range = validRange(one, { loose: true })
  if (range !== null) return range === validRange(two, { loose: true })
  const git = gitAddress(one)
  return git !== undefined && git === gitAddress(two)
}
