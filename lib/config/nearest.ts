/** "Did you mean": the known words closest to a mistyped one. */

/** Edits between two words: insert, delete, replace, or swap two neighbours (optimal string alignment). */
export const editDistance = (a: string, b: string): number => {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let best = Math.min(
        (last[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (last[j - 1] ?? 0) + (same ? 0 : 1),
      )
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, (before[j - 2] ?? 0) + 1)
      row.push(best)
    }
    before = last
    last = row
  }
  return last[b.length] ?? 0
}

/** At most three of `known`, nearest first; none when nothing is near. Case does not count. */
export const nearest = (word: string, known: readonly string[]): string[] => {
  if (word.length > 100) return []
  const from = word.toLowerCase()
  return known
    .map(candidate => ({ candidate, distance: editDistance(from, candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => distance <= Math.max(1, candidate.length / 3))
    .sort((x, y) => x.distance - y.distance || (x.candidate < y.candidate ? -1 : 1))
    .slice(0, 3)
    .map(({ candidate }) => candidate)
}

/** ` (did you mean "a" or "b"?)`, or nothing. */
export const didYouMean = (word: string, known: readonly string[]): string => {
  const names = nearest(word, known).map(name => JSON.stringify(name))
  return names.length === 0 ? '' : ` (did you mean ${names.join(' or ')}?)`
}
