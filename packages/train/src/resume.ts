import { PeftError } from "@peftjs/core";

/** Refuses to go on with a run under other options: its numbers would be neither run's. */
export function requireSameRun(
  saved: Readonly<Record<string, unknown>>,
  current: Readonly<Record<string, unknown>>,
): void {
  const names = new Set([...Object.keys(saved), ...Object.keys(current)]);
  const different = [...names].filter((name) => JSON.stringify(saved[name]) !== JSON.stringify(current[name]));
  if (different.length === 0) return;
  const list = different
    .map((name) => `${name} was ${JSON.stringify(saved[name])}, is ${JSON.stringify(current[name])}`)
    .join("; ");
  throw new PeftError(
    "RESUME_MISMATCH",
    `The run cannot go on with other options: ${list}. Give the options of the interrupted run, or choose another outputDir.`,
  );
}
