import { createGenerator } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import type { EvaluationPlan, TrainingPlan } from "@peftjs/train";
import { batchAt } from "../subjects.ts";
import type { Family } from "../subjects.ts";

export interface DataOptions {
  /** Whole batches of the run. */
  readonly batches: number;
  /** Each of them comes in this many parts of equal size. Default: 1. */
  readonly parts?: number;
}

/** One pass over the fixed sequence of batches, which can be divided anew. */
export function trainingPlan(family: Family, { batches, parts = 1 }: DataOptions): TrainingPlan {
  const all = stack(Array.from({ length: batches }, (_, index) => batchAt(family, index)));
  const total = rowsIn(all);
  const inOrder = Array.from({ length: total }, (_, row) => row);
  const planOf = (rows: number, orderOf: (pass: number) => readonly number[]): TrainingPlan => {
    const batchesPerEpoch = Math.floor(total / rows);
    return {
      batchesPerEpoch,
      batchAt: (index) => {
        const begin = (index % batchesPerEpoch) * rows;
        return pick(all, orderOf(Math.floor(index / batchesPerEpoch)).slice(begin, begin + rows));
      },
    };
  };
  return {
    ...planOf(total / (batches * parts), () => inOrder),
    divided: ({ rows, seed }) =>
      planOf(Math.min(rows, total), (pass) => {
        const keys = createGenerator(seed + pass).uniform(total);
        return [...inOrder].sort((a, b) => (keys[a] as number) - (keys[b] as number));
      }),
  };
}

/** Rows that no training batch holds. */
export function validationPlan(family: Family): EvaluationPlan {
  return {
    batches: 2,
    batchAt: (index) => {
      const batch = batchAt(family, 1000 + index);
      const rows = rowsIn(batch);
      return { batch, rows: Array.from({ length: rows }, (_, row) => index * rows + row) };
    },
  };
}

function rowsIn(batch: Named<HostTensor>): number {
  return batch["labels"]?.shape[0] as number;
}

function stack(batches: readonly Named<HostTensor>[]): Named<HostTensor> {
  const [first = {}] = batches;
  const joined = Object.entries(first).map(([name, { shape, dtype }]): [string, HostTensor] => {
    const data = Int32Array.from(batches.flatMap((batch) => [...(batch[name] as HostTensor).data]));
    return [name, { dtype, shape: [(shape[0] as number) * batches.length, ...shape.slice(1)], data }];
  });
  return Object.fromEntries(joined);
}

function pick(all: Named<HostTensor>, rows: readonly number[]): Named<HostTensor> {
  const picked = Object.entries(all).map(([name, { shape, dtype, data }]): [string, HostTensor] => {
    const width = data.length / (shape[0] as number);
    const values = rows.flatMap((row) => [...data.subarray(row * width, (row + 1) * width)]);
    return [name, { dtype, shape: [rows.length, ...shape.slice(1)], data: Int32Array.from(values) }];
  });
  return Object.fromEntries(picked);
}
