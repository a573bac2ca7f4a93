import { PeftError } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";

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

/** Refuses tensors of another structure than the model has. */
export function requireSameTensors(what: string, expected: Named<HostTensor>, got: Named<HostTensor>): void {
  const describe = (tensors: Named<HostTensor>): string[] =>
    Object.entries(tensors).map(([name, tensor]) => `${name} [${tensor.shape.join(", ")}]`);
  const wanted = new Set(describe(expected));
  const found = new Set(describe(got));
  const missing = [...wanted].filter((entry) => !found.has(entry));
  const extra = [...found].filter((entry) => !wanted.has(entry));
  if (missing.length + extra.length === 0) return;
  throw new PeftError(
    "RESUME_MISMATCH",
    `The checkpoint's ${what} do not fit the model: missing ${missing.slice(0, 3).join(", ") || "none"}; unknown ${extra.slice(0, 3).join(", ") || "none"}. ` +
      "Resume with the model and adapter of the interrupted run: the same method, options and seed, and, where a method looks at data before it starts, the same rows in the same batches. Or choose another outputDir.",
  );
}
