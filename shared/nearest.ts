/**
 * The candidate nearest to a misspelled word, for "did you mean"; `undefined` when none is near: more than two
 * edits, or more than a third of the word's length.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.min(2, Math.floor(word.length / 3))) + 1;
  for (const candidate of candidates) {
    if (Math.abs(word.length - candidate.length) >= bestDistance) continue;
    const distance = editDistance(word, candidate, bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/**
 * Levenshtein distance; a swap of neighbours counts as two. From `limit` on it is `limit`: of the table only what lies
 * near enough to the diagonal is filled.
 */
function editDistance(a: string, b: string, limit: number): number {
  const reach = limit - 1;
  const row = Array.from({ length: b.length + 1 }, (_, j) => Math.min(j, limit));
  for (let i = 1; i <= a.length; i += 1) {
    const from = Math.max(1, i - reach);
    const to = Math.min(b.length, i + reach);
    let diagonal = row[from - 1] as number;
    row[from - 1] = from === 1 ? Math.min(i, limit) : limit;
    let least = row[from - 1] as number;
    for (let j = from; j <= to; j += 1) {
      const above = row[j] as number;
      const left = row[j - 1] as number;
      const value = Math.min(above + 1, left + 1, diagonal + (a[i - 1] === b[j - 1] ? 0 : 1), limit);
      diagonal = above;
      row[j] = value;
      if (value < least) least = value;
    }
    if (least >= limit) return limit;
  }
  return row[b.length] as number;
}
