/** The lines by which each package manager asks Attestry, and the file they belong into. Pure. */

export const npmrcClients = ['npm', 'pnpm', 'yarn', 'yarn1', 'bun', 'deno'] as const

export type NpmrcClient = (typeof npmrcClients)[number]

export type ClientLines = {
  /** What people call it, with the versions these lines were tried with. */
  readonly title: string
  readonly file: string
  /** What the lines leave to do, one sentence each. */
  readonly advice: readonly string[]
  /** Lines of the file, each ended by a line feed. */
  readonly lines: string
}

const quoted = (text: string) => JSON.stringify(text)

/**
 * Yarn compares the host of every plain http request with glob patterns (micromatch); a host may
 * only hold brackets, of IPv6, that would mean something in one.
 */
const hostPattern = ({ hostname }: URL) => hostname.replace(/[[\]]/g, String.raw`\$&`)

const yarnLines = (url: string): string => {
  const address = new URL(url)
  const plain = `npmRegistryServer: ${quoted(url)}\n`
  return address.protocol === 'https:'
    ? plain
    : `${plain}unsafeHttpWhitelist:\n  - ${quoted(hostPattern(address))}\n`
}

/** `url`: where clients reach Attestry, with a slash at its end. */
export const clientLines = (client: NpmrcClient, url: string): ClientLines => {
  switch (client) {
    case 'npm':
      return {
        title: 'npm 11 and 12',
        file: '.npmrc',
        advice: [
          "Lockfiles that name npm's own registry are led here without more (replace-registry-host=npmjs is npm's default).",
          'For lockfiles that name other registries, when all packages come from here: replace-registry-host=always.',
        ],
        lines: `registry=${url}\n`,
      }
    case 'pnpm':
      return {
        title: 'pnpm 10, 11 and 12',
        file: '.npmrc',
        advice: [
          'Lockfiles name no registry, so nothing else has to change; entries with a tarball: of another host are fetched there.',
        ],
        lines: `registry=${url}\n`,
      }
    case 'yarn':
      return {
        title: 'Yarn 4',
        file: '.yarnrc.yml',
        advice: [
          'Lockfiles name no registry, but for entries with __archiveUrl: those are fetched from where they say.',
        ],
        lines: yarnLines(url),
      }
    case 'yarn1':
      return {
        title: 'Yarn 1',
        file: '.yarnrc',
        advice: [
          'An existing yarn.lock goes past this: every entry is fetched from the host in its "resolved". Replace those hosts, or make the file anew.',
          "Yarn's cache of earlier installs is used without asking: yarn cache clean once.",
        ],
        lines: `registry ${quoted(url)}\n`,
      }
    case 'bun':
      return {
        title: 'Bun 1',
        file: 'bunfig.toml',
        advice: [
          'Where the file has an [install] already, the second line belongs below it.',
          'Entries of an existing bun.lock that hold a URL go past this; empty ones do not. Make the file anew where it has some.',
        ],
        lines: `[install]\nregistry = ${quoted(url)}\n`,
      }
    case 'deno':
      return {
        title: 'Deno 2',
        file: '.npmrc',
        advice: [
          'For npm: packages; what comes from elsewhere, as with jsr:, does not pass here.',
        ],
        lines: `registry=${url}\n`,
      }
  }
}

/** As people put it into the file: comments, then lines. All these files take `#` for a comment. */
export const fileText = ({ title, file, advice, lines }: ClientLines): string =>
  [`# ${title}: ${file}`, ...advice.map(line => `# ${line}`), lines].join('\n')
