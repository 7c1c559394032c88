/**
 * What every client is put through, in the order in which it is done and told in docs/clients.md:
 * an audit needs what is installed, and a lockfile is installed from nothing.
 */
export const scenarios = {
  range: 'a range installs the newest',
  exact: 'an exact version',
  scoped: 'a scoped package',
  tag: 'a dist-tag',
  optional: 'an optional dependency',
  peer: 'a peer dependency',
  frozen: 'a frozen lockfile, from empty caches',
  older: 'the newest is refused, an older one is not: a range installs that',
  latest: '`latest` names a refused version: the one before it is installed',
  pinned: 'a version that is refused, asked for by number',
  all: 'a package of which all versions are refused',
  tarball: 'refused when the tarball is asked for',
  'optional refused': 'an optional dependency that is refused is left out',
  audit: 'audit of what was refused after it was installed',
  locked: 'a lockfile with a version refused since',
  'clean audit': 'audit of what is allowed',
  publish: 'publish to a private upstream',
  login: 'log in to a private upstream',
} as const

export type Scenario = keyof typeof scenarios

export const scenarioNames = Object.keys(scenarios) as readonly Scenario[]
