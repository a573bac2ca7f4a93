import { PeftError } from "@peftjs/core";

export type Truncation = "longest_first" | "only_first" | "only_second" | "none";

/**
 * Tokens kept of two texts of n₁ and n₂ tokens when k may stay (n₂ = 0 for a single text): the Rust library's result.
 * `longest_first` shortens the longer text, and both to halves when neither fits. @throws PeftError `TRUNCATION_IMPOSSIBLE`.
 */
export function keptLengths([n1, n2]: readonly [number, number], k: number, truncation: Truncation): [number, number] {
  const excess = n1 + n2 - k;
  if (excess <= 0 || truncation === "none") return [n1, n2];
  if (truncation === "only_first") return [shortened(n1, excess, "first"), n2];
  if (truncation === "only_second") return [n1, shortened(n2, excess, "second")];
  if (k < 0)
    throw new PeftError(
      "TRUNCATION_IMPOSSIBLE",
      `maxLength leaves no room for the special tokens: ${-k} too few. Raise maxLength.`,
    );
  const [short, long] = n1 > n2 ? fitPair(n2, n1, k) : fitPair(n1, n2, k);
  return n1 > n2 ? [long, short] : [short, long];
}

/** The shorter text stays whole where that leaves the longer one at least as much; otherwise both get half. */
function fitPair(short: number, long: number, k: number): [number, number] {
  const rest = short > k ? short : Math.max(short, k - short);
  if (short + Math.min(rest, long) <= k) return [short, Math.min(rest, long)];
  const half = Math.floor(k / 2);
  return [half, half + (k % 2)];
}

function shortened(length: number, excess: number, which: string): number {
  if (excess < length) return length - excess;
  throw new PeftError(
    "TRUNCATION_IMPOSSIBLE",
    `The ${which} text has ${length} tokens, but ${excess} have to go. Raise maxLength, or truncate "longest_first".`,
  );
}
