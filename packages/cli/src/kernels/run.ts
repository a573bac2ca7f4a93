import type { TextModel } from "@peftjs/bench";
import { peft } from "@peftjs/core";
import type { PeftModel } from "@peftjs/core";
import type { DataRow } from "@peftjs/data";
import type { Engine } from "@peftjs/engine";
import { trained } from "@peftjs/method-rocoft/analysis";
import type { KernelOptions, LabelledExamples } from "@peftjs/method-rocoft/analysis";
import type { KernelFlags } from "../commands/kernels.ts";
import type { ChosenMethod } from "./methods.ts";

export interface KernelRun {
  readonly text: TextModel;
  readonly engine: Engine;
  /** From which examples are drawn, and without `test` also what is predicted. */
  readonly rows: readonly DataRow[];
  readonly test: readonly DataRow[] | null;
  readonly flags: KernelFlags;
  /** The first is what the others are compared with. */
  readonly methods: readonly ChosenMethod[];
}

/** One draw of examples. */
export interface Draw {
  readonly seed: number;
  readonly train: LabelledExamples;
  readonly trainRows: readonly DataRow[];
  readonly test: LabelledExamples;
}

/** What all kernels of a run share. */
export function kernelOptions({ engine, flags }: KernelRun): Omit<KernelOptions, "examples"> {
  const subset = trained({ biases: flags.biases, head: flags.head });
  const { outputs, parameterBlock, exampleBlock } = flags;
  return { runner: engine, outputs, subset, parameterBlock, exampleBlock };
}

/** Adapters start with the draw's seed; methods that look at data see its training examples. */
export function attach(
  { text, engine }: KernelRun,
  { method, config }: ChosenMethod,
  { seed, train }: Draw,
): Promise<PeftModel> {
  return peft(text.base).use(method, config, { seed }).apply({ batches: train.examples, runner: engine });
}
