/**
 * Candidates that a user probably meant: Levenshtein distance at most a third of the longer word (and at least 1), or one
 * contained in the other; nearest first.
 */
export function nearMisses(word: string, candidates: Iterable<string>, { limit = 3 }: { readonly limit?: number } = {}): string[] {
  const wanted = word.toLowerCase();
  const scored: { candidate: string; distance: number }[] = [];
  for (const candidate of new Set(candidates)) {
    const other = candidate.toLowerCase();
    const distance = levenshtein(wanted, other);
    const longer = Math.max(wanted.length, other.length);
    const contained = wanted.length >= 3 && other.length >= 3 && (other.includes(wanted) || wanted.includes(other));
    if (distance <= Math.max(1, Math.floor(longer / 3)) || contained) scored.push({ candidate, distance });
  }
  scored.sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1));
  return scored.slice(0, limit).map(({ candidate }) => candidate);
}

/** ` Did you mean "a" or "b"?`, or nothing. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const near = nearMisses(word, candidates);
  return near.length === 0 ? "" : ` Did you mean ${near.map((name) => `"${name}"`).join(" or ")}?`;
}

/** Fewest insertions, deletions and replacements of one character that turn `a` into `b`. */
function levenshtein(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min((previous[j] as number) + 1, (current[j - 1] as number) + 1, replaced));
    }
    previous = current;
  }
  return previous[b.length] as number;
}
