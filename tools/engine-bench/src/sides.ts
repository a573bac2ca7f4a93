import { join } from "node:path";
import type { WorkerArguments } from "./side.ts";
import { Side } from "./side.ts";

const WORKER = join(import.meta.dirname, "worker.js");
const PYTHON_STEP = join(import.meta.dirname, "..", "..", "reference", "step.py");

/** Our program: plain Node on the built packages. */
export function openOurs(args: WorkerArguments): Side {
  return new Side(process.execPath, [WORKER, JSON.stringify(args)], args.threads);
}

/** The same step in Python; `bfloat16` runs forward and loss under autocast. */
export function openPython(
  interpreter: string,
  { task, threads }: WorkerArguments,
  dtype: "float32" | "bfloat16",
): Side {
  return new Side(interpreter, [PYTHON_STEP, JSON.stringify(task), String(threads), dtype], threads);
}
