/**
 * Anchored globs. `*` stands for one or more characters other than `/`, `**` for one or more of
 * any; everything else, and the version put in for `{version}`, stands for itself. Matching visits
 * each place of the text once per token, so no pattern and no text can make it slow.
 */

type Token =
  | { readonly kind: 'text'; readonly text: string }
  /** `stop` are the characters it does not cross. */
  | { readonly kind: 'star'; readonly stop: string }

const VERSION = '{version}'

/**
 * Splits a pattern. Where an `@` parts a path from a ref (`subject` and `signer`), a `**` before
 * it does not cross an `@`: a branch may be named like the end of the pattern.
 */
const tokens = (pattern: string, version: string, atParts: boolean): Token[] => {
  let before = ''
  return pattern.split(/(\*\*|\*|\{version\})/).map(part => {
    const crossed = before.includes('@')
    before += part
    if (part === '*') return { kind: 'star', stop: '/' }
    if (part === '**') return { kind: 'star', stop: atParts && !crossed ? '@' : '' }
    return { kind: 'text', text: part === VERSION ? version : part }
  })
}

/** All places that can be reached from any of `from` by eating one token. */
const step = (from: ReadonlySet<number>, token: Token, text: string): Set<number> => {
  const to = new Set<number>()
  for (const start of from) {
    if (token.kind === 'text') {
      if (text.startsWith(token.text, start)) to.add(start + token.text.length)
      continue
    }
    for (let end = start; end < text.length && !token.stop.includes(text.charAt(end)); end++) {
      if (to.has(end + 1)) break
      to.add(end + 1)
    }
  }
  return to
}

export const isGlob = (pattern: string): boolean => pattern.includes('*')

/** The pattern with the version in its place, for people. */
export const withVersion = (pattern: string, version: string): string =>
  pattern.replaceAll(VERSION, () => version)

/** Does the pattern match the whole text? */
export const globMatches = (
  pattern: string,
  text: string,
  { version = '', atParts = false }: { version?: string; atParts?: boolean } = {},
): boolean => {
  let reached: Set<number> = new Set([0])
  for (const token of tokens(pattern, version, atParts)) {
    if (token.kind === 'text' && token.text === '') continue
    reached = step(reached, token, text)
    if (reached.size === 0) return false
  }
  return reached.has(text.length)
}
