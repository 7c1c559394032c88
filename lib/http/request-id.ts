/** What a request is called in the logs of all who handle it. */

export const requestIdHeader = 'x-request-id'

/** A client's or balancer's own name for its request, where it is one that can stand in a log. */
export const requestIdOf = (
  given: string | readonly string[] | undefined,
): string | undefined =>
  typeof given === 'string' && /^[\w.:=+/-]{1,128}$/.test(given) ? given : undefined
