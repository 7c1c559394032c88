/**
 * Which Node runs this. Read by bin/attestry.ts before anything else is loaded, so this file
 * imports nothing and keeps to syntax that Node 12 already parses.
 */

/** The same range as `engines` in package.json; a test holds the two together. */
export const wantedNode = '^24.15.0 || >=26.0.0'

/**
 * What is wrong with a Node version (`process.versions.node`), in one sentence that says what was
 * found, what is wanted and what to do; undefined when it will do.
 */
export const nodeComplaint = (found: string): string | undefined => {
  const [major = 0, minor = 0] = found.split('.').map(Number)
  if (major >= 26 || (major === 24 && minor >= 15)) return undefined
  return (
    `attestry: this is Node ${found}, and attestry needs Node 24.15 or later in the 24 line, or 26 and later ` +
    `(for node:sqlite, zstd and the sigstore libraries): install one and run the command again with it.`
  )
}
