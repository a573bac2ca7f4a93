import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadAdapter, MethodRegistry, PeftModel } from "@peftjs/core";
import type { HostTensor, Method, Named } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import { fromPretrained } from "@peftjs/models";
import type { ParameterGroupRule, TrainingConfigInput } from "@peftjs/train";
import { beforeAll, describe, expect, it } from "vitest";
import { readTensors } from "./adapterFolder.ts";
import { relativeDifference } from "./compare.ts";
import { describeOnEngines } from "./engines.ts";
import { logits, lossesOf, lossProgram } from "./run.ts";

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

/** Forward, gradients, and the loss curve of a training run against a reference implementation, in both engines. */
export function describeReference<Config extends object>(method: Method<Config>, options: ReferenceOptions): void {
  const erased = method as unknown as Method;
  const cases = options.folders.map((url) => [url.pathname.split("/").at(-1) ?? "", url] as const);
  describeOnEngines(`${method.name} against the reference`, (engine) => {
    describe.each(cases)("%s", (_, url) => {
      let reference: Reference;
      beforeAll(async () => {
        reference = await readReference(url);
      });
      const load = (stage: "start" | "final"): Promise<PeftModel> =>
        loadReference(reference, { method: erased, stage });
      const output = async (model: PeftModel): Promise<ArrayLike<number>> =>
        (await logits(model, { engine: engine(), batch: referenceBatch(reference, 0) })).data;
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
        const program = lossProgram(model, engine());
        const { gradients } = await program.run(referenceBatch(reference, 0));
        await program.dispose();
        const learning = [...reference.values.keys()].flatMap((name) => name.split(/^gradient\./u)[1] ?? []);
        expect(Object.keys(gradients)).toHaveLength(learning.length);
        for (const [key, gradient] of Object.entries(gradients)) {
          const target = expected(`gradient.${pythonName(erased, key, learning)}`);
          // Softmax ignores what is the same for every key, so that a key bias has no gradient but rounding.
          if (largest(target) < 1e-7) expect(largest(gradient.data), key).toBeLessThan(1e-6);
          else expect(relativeDifference(gradient.data, target), key).toBeLessThan(1e-5);
        }
      });

      it("the same losses while training, and the same adapter in the end", async () => {
        const model = await load("start");
        const losses = await trainLike(reference, { model, engine: engine(), training: options.training ?? {} });
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

export interface TrainLikeOptions {
  readonly model: PeftModel;
  readonly engine: Engine;
  readonly training?: TrainingConfigInput;
  readonly paramGroups?: ParameterGroupRule;
}

/** Trains on the reference's batches with its optimizer; the losses. */
export function trainLike(
  reference: Reference,
  { training = {}, ...options }: TrainLikeOptions,
): Promise<readonly number[]> {
  return lossesOf({
    ...options,
    train: { batchesPerEpoch: reference.losses.length, batchAt: (index) => referenceBatch(reference, index) },
    config: { learningRate: 5e-3, weightDecay: 0, maxGradNorm: null, ...training },
  });
}

/** Name in Python, one of `names`, of what our model trains as `key`. */
export function pythonName({ wire }: Method, key: string, names: readonly string[]): string {
  const local = key.slice(key.indexOf(".") + 1);
  const short = local.slice(local.lastIndexOf(".") + 1);
  const stored = local.slice(0, -short.length) + (wire.tensors[short] ?? short);
  const spellings = [
    ...[stored, stored.replace(/\.weight$/u, ""), `${stored}.weight`],
    local,
    local.replace(/\.tokenRows$/u, ".token_adapter.trainable_tokens_delta"),
    local.replace(/\.bias$/u, ".base_layer.bias"),
    local.replace(/^classifier\./u, "classifier.modules_to_save."),
  ];
  const found = spellings.map((name) => `base_model.model.${name}`).find((name) => names.includes(name));
  if (found === undefined) throw new Error(`The reference trains nothing like ${key}.`);
  return found;
}

function largest(values: ArrayLike<number>): number {
  return Math.max(...Array.from(values, Math.abs));
}
