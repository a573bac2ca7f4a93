import { isBias } from "@peftjs/core";
import type { Adapter, HostTensor, PeftModel } from "@peftjs/core";
import { findAdapter } from "@peftjs/core/internal";

/** How many numbers learn, by what they are. Papers count `weights` alone; the original code prints the sum. */
export interface LearnedCounts {
  /** Of rows, columns or entries. */
  readonly weights: number;
  /** Biases, outside modules that learn in full. */
  readonly biases: number;
  /** The head and other modules that learn in full, and norms. */
  readonly others: number;
  /** All parameters of the base model, frozen ones included. */
  readonly model: number;
}

/**
 * Counts what an adapter trains.
 * @throws PeftError `ADAPTER_UNKNOWN`.
 */
export function countLearned({ base, adapters }: PeftModel, adapterName = "default"): LearnedCounts {
  const adapter = findAdapter(adapters, adapterName);
  const { params } = adapter;
  const own = [...params].map(([name, { data }]) => ({ size: data.length, ofBias: name.endsWith(".biasDelta") }));
  const others = trainedBeside(adapter);
  const sum = (sizes: readonly { readonly size: number }[]): number =>
    sizes.reduce((total, { size }) => total + size, 0);
  return {
    weights: sum(own.filter(({ ofBias }) => !ofBias)),
    biases: sum([...own, ...others].filter(({ ofBias }) => ofBias)),
    others: sum(others.filter(({ ofBias }) => !ofBias)),
    model: [...new Set(base.parameters.values())].reduce((total, { data }) => total + data.length, 0),
  };
}

/** Base parameters that learn, tied ones once. */
function trainedBeside({ overrides }: Adapter): { readonly size: number; readonly ofBias: boolean }[] {
  const seen = new Set<HostTensor>();
  return [...overrides].flatMap(([name, { kind, tensor }]) => {
    if (kind === "replaced" || seen.has(tensor)) return [];
    seen.add(tensor);
    return [{ size: tensor.data.length, ofBias: kind === "trained" && isBias(name) }];
  });
}

/** Three lines: numbers, and shares of all parameters of the base model. */
export function formatLearned({ model, ...counts }: LearnedCounts): string {
  const line = (name: string, count: number): string =>
    `${name}: ${count.toLocaleString("en-US")} (${((100 * count) / model).toFixed(4)} %)`;
  return [line("weights", counts.weights), line("biases", counts.biases), line("head and others", counts.others)].join(
    "\n",
  );
}
