import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openSafetensors, peft } from "@peftjs/core";
import type { HostTensor, Named, PeftModel } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import { full } from "@peftjs/method-classic";
import { fromPretrained } from "@peftjs/models";
import { referenceBatch } from "@peftjs/testkit/conformance";
import { Trainer } from "@peftjs/train";
import type { TrainingConfigInput } from "@peftjs/train";
import { galore } from "../src/index.ts";
import type { GaloreConfig } from "../src/index.ts";

/** Written by fixtures/galore/make.py with torch. */
const folder = fileURLToPath(new URL("../../../fixtures/galore", import.meta.url));

export interface Reference {
  readonly learningRate: number;
  readonly steps: number;
  readonly cases: Readonly<Record<string, { readonly settings: Partial<GaloreConfig>; readonly losses: number[] }>>;
}

export const reference = JSON.parse(readFileSync(join(folder, "losses.json"), "utf8")) as Reference;
export const values = await readValues();

async function readValues(): Promise<ReadonlyMap<string, HostTensor>> {
  const file = await openSafetensors(join(folder, "values.safetensors"));
  const tensors = new Map<string, HostTensor>();
  for (const name of file.names) tensors.set(name, await file.tensor(name));
  await file.close();
  return tensors;
}

/** Batches of the reference, which come round again. */
const batches = values.get("batch.input_ids")?.shape[0] ?? 0;
export const train = {
  batchesPerEpoch: batches,
  batchAt: (index: number): Named<HostTensor> => referenceBatch({ values: new Map(values) }, index % batches),
};

/** The reference's model: all linear layers of the blocks learn, and the head. */
export async function referenceModel(config: Partial<GaloreConfig> | null): Promise<PeftModel> {
  const builder = peft(await fromPretrained(join(folder, "base"))).use(full, { targetModules: "all-linear" });
  return (config === null ? builder : builder.use(galore, config)).apply();
}

export interface RunOptions {
  readonly engine: Engine;
  readonly steps?: number;
  readonly config?: TrainingConfigInput;
}

/** Trains as the reference does; the losses. */
export async function losses(model: PeftModel, { engine, steps = reference.steps, config = {} }: RunOptions) {
  const result: number[] = [];
  const trainer = new Trainer({
    ...{ model, engine, train },
    config: {
      ...{ maxSteps: steps, learningRate: reference.learningRate, schedule: "constant", warmupRatio: 0 },
      ...{ weightDecay: 0, maxGradNorm: null, evalEvery: "never", saveEvery: "never", ...config },
    },
  });
  trainer.on("step", ({ loss }) => void result.push(loss));
  try {
    await trainer.train();
  } finally {
    await trainer.dispose();
  }
  return result;
}
