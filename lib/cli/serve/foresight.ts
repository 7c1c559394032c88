/** Whether several processes will serve, guessed from a glance at the settings. */

/** The first `workers` behind `cluster`, wherever that does not stand in a comment. */
const written = /^[^#\n]*\bcluster\s*:[^#]{0,80}?\bworkers\s*:\s*['"]?(\w+)/m

/**
 * `text`: of the settings file. A guess, for starting a worker while the settings are still read:
 * where it is wrong a worker is started later, or one for nothing.
 */
export const asksForCluster = (
  text: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): boolean => {
  const workers = env['ATTESTRY_CLUSTER_WORKERS'] ?? written.exec(text ?? '')?.[1] ?? '1'
  return workers !== '1'
}
