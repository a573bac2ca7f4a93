import type { Random } from "../random.ts";
import { shuffled } from "../random.ts";
import { normalizeForComparison } from "../sources/text.ts";
import type { Split, TaskRow, TaskSplits } from "./rows.ts";
import { SPLIT_ROWS } from "./rows.ts";

/**
 * Draws the rows of each split. A text that occurs in test does not occur in dev or train, one of dev not in train, and no
 * split holds a row twice. With `classes`, every class gets the same number of rows.
 */
export function selectRows(
  candidates: Readonly<Record<Split, readonly TaskRow[]>>,
  options: { readonly random: Random; readonly classes?: number },
): TaskSplits {
  const seen = new Set<string>();
  const draw = (split: Split): TaskRow[] => {
    const rows: TaskRow[] = [];
    const drawn = new Set<string>();
    const taken = new Map<string | number, number>();
    const quota = options.classes === undefined ? Infinity : SPLIT_ROWS[split] / options.classes;
    for (const row of shuffled(candidates[split], options.random)) {
      if (rows.length === SPLIT_ROWS[split]) break;
      const ofLabel = taken.get(row.label) ?? 0;
      if (ofLabel >= quota) continue;
      const texts = [row.text, row.textPair ?? ""].map(normalizeForComparison).filter((text) => text !== "");
      const whole = texts.join("\u0000");
      if (drawn.has(whole) || texts.some((text) => seen.has(text))) continue;
      drawn.add(whole);
      taken.set(row.label, ofLabel + 1);
      rows.push(row);
    }
    for (const row of rows) {
      for (const text of [row.text, row.textPair ?? ""]) seen.add(normalizeForComparison(text));
    }
    return rows;
  };
  const test = draw("test");
  const dev = draw("dev");
  return { train: draw("train"), dev, test };
}
