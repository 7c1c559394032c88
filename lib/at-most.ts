/** How many entries a cache may hold, said in the way that costs nothing until there are some. */

/**
 * Options for lru-cache. Its own `max` takes memory for all entries when a cache is opened: for
 * those of a gate 6 MB, and a tenth of a server's start.
 */
export const atMost = (entries: number) => ({ maxSize: entries, sizeCalculation: () => 1 })
