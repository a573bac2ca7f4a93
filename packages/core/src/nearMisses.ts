/**
 * Candidates that a user probably meant, nearest first: those at the smallest edit distance, at most a third of the longer
 * word (and at least 1), and those of which one contains the other.
 */
export function nearMisses(
  word: string,
  candidates: Iterable<string>,
  { limit = 3 }: { readonly limit?: number } = {},
): string[] {
  const wanted = word.toLowerCase();
  const scored: { candidate: string; distance: number; contained: boolean }[] = [];
  for (const candidate of new Set(candidates)) {
    const other = candidate.toLowerCase();
    const distance = editDistance(wanted, other);
    const longer = Math.max(wanted.length, other.length);
    const contained = wanted.length >= 3 && other.length >= 3 && (other.includes(wanted) || wanted.includes(other));
    if (distance <= Math.max(1, Math.floor(longer / 3)) || contained) scored.push({ candidate, distance, contained });
  }
  scored.sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1));
  const best = scored[0]?.distance;
  const kept = scored.filter(({ distance, contained }) => distance === best || contained);
  return kept.slice(0, limit).map(({ candidate }) => candidate);
}

/** ` Did you mean "a" or "b"?`, or nothing. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const near = nearMisses(word, candidates);
  return near.length === 0 ? "" : ` Did you mean ${near.map((name) => `"${name}"`).join(" or ")}?`;
}

/** Fewest insertions, deletions, replacements of one character and swaps of two neighbours that turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (last[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? (beforeLast[j - 2] ?? Infinity) + 1 : Infinity;
      row.push(Math.min((last[j] as number) + 1, (row[j - 1] as number) + 1, replaced, swapped));
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length] as number;
}
