import { PeftError } from "@peftjs/core";

const answers = (word: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_, i) => `${word}${i + 1}`);

/** What a model is to say, by commonsense set (LLM-Adapters, Hu et al. 2023). */
const CHOICES: Readonly<Record<string, readonly string[]>> = {
  boolq: ["true", "false"],
  piqa: answers("solution", 2),
  social_i_qa: answers("answer", 5),
  "ARC-Easy": answers("answer", 5),
  "ARC-Challenge": answers("answer", 5),
  openbookqa: answers("answer", 5),
  hellaswag: answers("ending", 4),
  winogrande: answers("option", 2),
};

/**
 * The first choice of a commonsense set that occurs in a generated text, with upper and lower case as they are; "" when none does. The
 * rule of the published tables, which are reached with its side effects alone: "untrue" counts as true, "answer10" as answer1.
 * @throws PeftError `TASK_UNKNOWN`.
 */
export function extractChoice(text: string, set: string): string {
  const choices = CHOICES[set];
  if (choices === undefined) {
    throw new PeftError(
      "TASK_UNKNOWN",
      `"${set}" is no set with choices of its own. There are: ${Object.keys(CHOICES).join(", ")}.`,
    );
  }
  return new RegExp(choices.join("|"), "u").exec(text)?.[0] ?? "";
}

/** The last number of a generated text, commas between digits left out; Infinity when there is none, which equals no gold answer. */
export function extractNumber(text: string): number {
  const last = text
    .replaceAll(",", "")
    .match(/-?\d+\.?\d*/gu)
    ?.at(-1);
  return last === undefined ? Infinity : Number(last);
}

/** How far a number may be from the gold answer. */
const TOLERANCE = 1e-3;

export function isSameNumber(predicted: number, gold: number): boolean {
  return Math.abs(predicted - gold) <= TOLERANCE;
}

/**
 * The option of a multiple-choice text, A to E; "" when there is none. "first-letter", the rule of the published tables: the first such
 * letter anywhere, so that "Based on this, the answer is (C)." says B. "choice": the letter behind "answer is", else the first one.
 */
export function extractLetter(text: string, mode: "first-letter" | "choice" = "first-letter"): string {
  const stated = mode === "choice" ? /answer is:?\s*\(?([A-E])\b/iu.exec(text)?.[1] : undefined;
  return stated?.toUpperCase() ?? /[A-E]/u.exec(text)?.[0] ?? "";
}
