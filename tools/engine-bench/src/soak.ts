import type { StepReport, WorkerArguments } from "./side.ts";
import { openOurs } from "./sides.ts";
import { formatTable, megabytes } from "./table.ts";

/** Runs many steps and prints what is alive at the start, each quarter and the end: both numbers should stay as they are. */
export async function soak(args: WorkerArguments, steps: number): Promise<void> {
  const side = openOurs(args);
  const rows: string[][] = [];
  const shown = new Set([2, ...[1, 2, 3, 4].map((quarter) => Math.round((quarter * steps) / 4))]);
  try {
    await side.ready();
    for (let step = 1; step <= steps; step++) {
      const report = await side.step();
      if (shown.has(step)) rows.push(rowOf(step, report));
    }
  } finally {
    side.close();
  }
  console.log(`${args.task.name}, ${steps} steps`);
  console.log(formatTable(["after step", "resident MB", "largest so far MB", "tensors alive", "loss"], rows));
}

function rowOf(step: number, { loss, peakMemoryBytes, ours }: StepReport): string[] {
  return [
    String(step),
    megabytes(ours?.residentBytes ?? 0),
    megabytes(peakMemoryBytes),
    String(ours?.tensors ?? 0),
    loss.toFixed(6),
  ];
}
