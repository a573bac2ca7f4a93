import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadAdapter, MethodRegistry, openSafetensors, PeftModel } from "@peftjs/core";
import type { HostTensor, Method, Named } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { fromPretrained } from "@peftjs/models";
import { Trainer } from "@peftjs/train";
import type { TrainingConfigInput } from "@peftjs/train";
import { beforeAll, describe, expect, it } from "vitest";
import { compiledEngine, eagerEngine } from "../engines.ts";
import { logits, lossProgram } from "./run.ts";

export interface ReferenceOptions {
  /** Folders that a reference script wrote: see `readReference`. */
  readonly folders: readonly URL[];
  /** Added to the run's settings (AdamW at 5e-3, constant, no decay, no clipping). */
  readonly training?: TrainingConfigInput;
}

/** Tensors of a reference and the folder they come from. */
export interface Reference {
  readonly folder: string;
  readonly values: ReadonlyMap<string, HostTensor>;
  readonly losses: readonly number[];
}

/**
 * A folder with `base/` (model), `start/` and `final/` (adapters before and after training), `losses.json` (`losses`, one per step)
 * and `values.safetensors`: `batch.<input>` [steps, …], `logits.{base,start,final}` of the first batch, and
 * `gradient.<name in Python>` of `start` on the first batch.
 */
export async function readReference(url: URL): Promise<Reference> {
  const folder = fileURLToPath(url);
  const { losses } = JSON.parse(readFileSync(join(folder, "losses.json"), "utf8")) as { losses: number[] };
  return { folder, losses, values: await readTensors(join(folder, "values.safetensors")) };
}

export async function readTensors(path: string): Promise<Map<string, HostTensor>> {
  const file = await openSafetensors(path);
  try {
    return new Map(await Promise.all(file.names.map(async (name) => [name, await file.tensor(name)] as const)));
  } finally {
    await file.close();
  }
}

/** The reference's base model with one of its adapters. */
export async function loadReference(
  { folder }: Pick<Reference, "folder">,
  { method, stage }: { readonly method: Method; readonly stage: string },
): Promise<PeftModel> {
  const model = new PeftModel(await fromPretrained(join(folder, "base")));
  await loadAdapter(model, { dir: join(folder, stage), methods: new MethodRegistry().use(method) });
  return model;
}

/** Batch `index` of a reference's [steps, …] tensors. */
export function referenceBatch({ values }: Pick<Reference, "values">, index: number): Named<HostTensor> {
  const names = [...values.keys()].filter((name) => name.startsWith("batch."));
  return Object.fromEntries(
    names.map((name) => {
      const { shape, data } = values.get(name) as HostTensor;
      const size = data.length / (shape[0] as number);
      const part = Int32Array.from(data.subarray(index * size, (index + 1) * size));
      return [name.slice("batch.".length), { dtype: "int32", shape: shape.slice(1), data: part } as const];
    }),
  );
}

/** Largest difference in units of the largest expected magnitude. */
export function relativeDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let largest = 0;
  let scale = 0;
  for (let i = 0; i < expected.length; i++) {
    expect(Number.isFinite(actual[i])).toBe(true);
    largest = Math.max(largest, Math.abs((actual[i] as number) - (expected[i] as number)));
    scale = Math.max(scale, Math.abs(expected[i] as number));
  }
  return largest / scale;
}

/** Forward, gradients, and the loss curve of a training run against a reference implementation, in both engines. */
export function describeReference<Config extends object>(method: Method<Config>, options: ReferenceOptions): void {
  const erased = method as unknown as Method;
  const cases = options.folders.map((url) => [url.pathname.split("/").at(-1) ?? "", url] as const);
  describe.each([
    ["compiled", compiledEngine],
    ["eager", eagerEngine],
  ] as const)(`${method.name} against the reference, %s`, (_, settings) => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await createEngine(settings);
    });
    describe.each(cases)("%s", (_, url) => {
      let reference: Reference;
      beforeAll(async () => {
        reference = await readReference(url);
      });
      const load = (stage: "start" | "final"): Promise<PeftModel> =>
        loadReference(reference, { method: erased, stage });
      const output = async (model: PeftModel): Promise<ArrayLike<number>> =>
        (await logits(model, { engine, batch: referenceBatch(reference, 0) })).data;
      const expected = (name: string): ArrayLike<number> => (reference.values.get(name) as HostTensor).data;

      it("the same logits: unmerged, merged and switched off", async () => {
        const model = await load("start");
        expect(relativeDifference(await output(model), expected("logits.start"))).toBeLessThan(1e-5);
        if (method.capabilities.merge) {
          model.merge();
          expect(relativeDifference(await output(model), expected("logits.start"))).toBeLessThan(1e-5);
          model.unmerge();
        }
        const off = await model.disable(() => output(model));
        expect(relativeDifference(off, expected("logits.base"))).toBeLessThan(1e-5);
        expect(relativeDifference(expected("logits.start"), expected("logits.base"))).toBeGreaterThan(1e-2);
      });

      it("the same gradients", async () => {
        const model = await load("start");
        const program = lossProgram(model, engine);
        const { gradients } = await program.run(referenceBatch(reference, 0));
        await program.dispose();
        const names = [...reference.values.keys()].filter((name) => name.startsWith("gradient."));
        expect(Object.keys(gradients)).toHaveLength(names.length);
        for (const [key, gradient] of Object.entries(gradients)) {
          const target = expected(referenceName(erased, key.slice("default.".length), names));
          // Softmax ignores what is the same for every key, so that a key bias has no gradient but rounding.
          if (largest(target) < 1e-7) expect(largest(gradient.data), key).toBeLessThan(1e-6);
          else expect(relativeDifference(gradient.data, target), key).toBeLessThan(1e-5);
        }
      });

      it("the same losses while training, and the same adapter in the end", async () => {
        const model = await load("start");
        const losses = await trainLike(reference, { model, engine, training: options.training ?? {} });
        expect(losses).toHaveLength(reference.losses.length);
        losses.forEach((loss, step) => {
          const target = reference.losses[step] as number;
          expect(Math.abs(loss - target) / Math.abs(target), `loss of step ${step}`).toBeLessThan(1e-4);
        });
        expect(relativeDifference(await output(model), expected("logits.final"))).toBeLessThan(1e-3);
        expect(relativeDifference(await output(await load("final")), expected("logits.final"))).toBeLessThan(1e-5);
      });
    });
  });
}

/** Trains on the reference's batches with its optimizer; the losses. */
export async function trainLike(
  reference: Reference,
  { model, engine, training }: { model: PeftModel; engine: Engine; training: TrainingConfigInput },
): Promise<number[]> {
  const losses: number[] = [];
  const trainer = new Trainer({
    model,
    engine,
    train: { batchesPerEpoch: reference.losses.length, batchAt: (index) => referenceBatch(reference, index) },
    config: {
      ...{ epochs: 1, learningRate: 5e-3, schedule: "constant", warmupSteps: 0, weightDecay: 0 },
      ...{ maxGradNorm: null, evalEvery: "never" },
      ...training,
    },
    loggers: [{ step: ({ loss }) => void losses.push(loss) }],
  });
  try {
    await trainer.train();
    return losses;
  } finally {
    await trainer.dispose();
  }
}

/** Name that the reference gives a parameter that learns, from ours without the adapter's name. */
function referenceName({ wire }: Method, key: string, names: readonly string[]): string {
  const short = key.slice(key.lastIndexOf(".") + 1);
  const layer = key.slice(0, -short.length);
  const spellings = [
    `${layer}${wire.tensors[short] ?? short}`,
    `${layer}${(wire.tensors[short] ?? short).replace(/\.weight$/, "")}`,
    `${layer}${wire.tensors[short] ?? short}.weight`,
    key,
    key.replace(/\.bias$/, ".base_layer.bias"),
    key.replace(/^classifier\./, "classifier.modules_to_save."),
  ];
  const found = spellings.map((name) => `gradient.base_model.model.${name}`).find((name) => names.includes(name));
  if (found === undefined) throw new Error(`The reference trains nothing like ${key}.`);
  return found;
}

function largest(values: ArrayLike<number>): number {
  return Math.max(...Array.from(values, Math.abs));
}
