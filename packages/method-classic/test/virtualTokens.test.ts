import { join } from "node:path";
import { loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter } from "@peftjs/core";
import type { HostTensor, Method, Named } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import { fromPretrained } from "@peftjs/models";
import { scratchFolders } from "@peftjs/testkit";
import {
  describeOnEngines,
  expectSameStart,
  logits,
  lossProgram,
  readAdapterConfig,
  readAdapterTensors,
  readReference,
  referenceBatch,
  relativeDifference,
  trainLike,
  type Reference,
} from "@peftjs/testkit/conformance";
import { beforeAll, describe, expect, it } from "vitest";
import { prefixTuning, promptTuning, pTuning } from "../src/index.ts";

interface Case {
  readonly name: string;
  readonly method: Method;
  readonly config: object;
  /** What we train as `default.prompt.<short>` → its name in Python. */
  readonly names: Readonly<Record<string, string>>;
}

const encoder = (layers: string, indices: readonly number[]): Record<string, string> => ({
  input: "prompt_encoder.embedding.weight",
  ...Object.fromEntries(
    indices.flatMap((index, i) => [
      [`w${i + 1}`, `prompt_encoder.${layers}.${index}.weight`],
      [`b${i + 1}`, `prompt_encoder.${layers}.${index}.bias`],
    ]),
  ),
});
const table = { table: "prompt_encoder.embedding.weight" };
const erased = (method: unknown): Method => method as Method;

const methods: readonly Case[] = [
  { name: "prompt", method: erased(promptTuning), config: { promptTuningInit: "SAMPLE_VOCAB" }, names: table },
  { name: "prefix", method: erased(prefixTuning), config: {}, names: table },
  {
    name: "prefix-projected",
    method: erased(prefixTuning),
    config: { prefixProjection: true, encoderHiddenSize: 6 },
    names: encoder("transform", [0, 2]),
  },
  { name: "p", method: erased(pTuning), config: { encoderHiddenSize: 6 }, names: encoder("mlp_head", [0, 2, 4]) },
];
const cases = ["bert", "roberta"].flatMap((family) =>
  methods.map(({ name, ...subject }) => ({ name: `${family}-${name}`, family, ...subject })),
);

const fixture = (name: string): URL => new URL(`../../../fixtures/prompts/${name}`, import.meta.url);

describeOnEngines("virtual tokens against the reference", (engine) => {
  describe.each(cases)("$name", ({ name, family, method, config, names }) => {
    const registry = new MethodRegistry().use(method);
    const scratch = scratchFolders();
    let reference: Reference;
    beforeAll(async () => {
      reference = await readReference(fixture(name));
    });
    const value = (key: string): HostTensor => reference.values.get(key) as HostTensor;
    const base = () => fromPretrained(fixture(`${family}/base`).pathname);
    const output = async (model: PeftModel): Promise<ArrayLike<number>> =>
      (await logits(model, { engine: engine(), batch: referenceBatch(reference, 0) })).data;
    const pythonName = (key: string): string => {
      const local = key.slice("default.".length);
      return names[local.slice("prompt.".length)] ?? `base_model.${local}`;
    };
    const attach = async () =>
      peft(await base())
        .use(method, { numVirtualTokens: 3, ...config }, { seed: 11 })
        .apply();
    const started = async (): Promise<PeftModel> => {
      const model = await attach();
      const keys = Object.keys(model.trainable());
      const learning = [...reference.values.keys()].filter((key) => key.startsWith("start."));
      expect(keys.map((key) => `start.${pythonName(key)}`).sort()).toEqual(learning.sort());
      model.setTrainable(Object.fromEntries(keys.map((key) => [key, value(`start.${pythonName(key)}`)])));
      return model;
    };

    it("starts with the same numbers", async () => {
      const dir = await saveAdapter(await attach(), { dir: scratch() });
      const python = join(reference.folder, "fresh");
      expectSameStart(await readAdapterTensors(dir), await readAdapterTensors(python));
      expectSameConfig(dir, python);
    });

    it("the same logits, and those of the base model when it is switched off", async () => {
      const model = await started();
      expect(relativeDifference(await output(model), value("logits.start").data)).toBeLessThan(1e-5);
      const off = await model.disable(() => output(model));
      expect(relativeDifference(off, value("logits.base").data)).toBeLessThan(1e-5);
      expect(relativeDifference(value("logits.start").data, value("logits.base").data)).toBeGreaterThan(1e-2);
    });

    it("the same gradients", async () => {
      const model = await started();
      const gradients = await gradientsOf(model, engine(), referenceBatch(reference, 0));
      expect(Object.keys(gradients).sort()).toEqual(Object.keys(model.trainable()).sort());
      for (const [key, { data }] of Object.entries(gradients))
        expect(relativeDifference(data, value(`gradient.${pythonName(key)}`).data), key).toBeLessThan(1e-5);
    });

    it("the same losses while training, the same adapter in the end, and Python's file gives it too", async () => {
      const model = await started();
      const losses = await trainLike(reference, { model, engine: engine() });
      expect(losses).toHaveLength(reference.losses.length);
      losses.forEach((loss, step) => {
        const target = reference.losses[step] as number;
        expect(Math.abs(loss - target) / target, `loss of step ${step}`).toBeLessThan(1e-4);
      });
      expect(relativeDifference(await output(model), value("logits.final").data)).toBeLessThan(1e-3);

      const python = join(reference.folder, "final");
      const loaded = new PeftModel(await base());
      const { missing, unexpected } = await loadAdapter(loaded, { dir: python, methods: registry });
      expect([missing, unexpected]).toEqual([[], []]);
      expect(relativeDifference(await output(loaded), value("logits.final").data)).toBeLessThan(1e-5);
      const dir = await saveAdapter(loaded, { dir: scratch() });
      expect(await readAdapterTensors(dir)).toEqual(await readAdapterTensors(python));
      expectSameConfig(dir, python);
    });
  });
});

async function gradientsOf(model: PeftModel, engine: Engine, batch: Named<HostTensor>): Promise<Named<HostTensor>> {
  const program = lossProgram(model, engine);
  const { gradients } = await program.run(batch);
  await program.dispose();
  return gradients;
}

/**
 * What the Python library adds to a config that it writes twice, and its own version and place, say nothing about the adapter.
 * `init_weights` is written where it is set: older versions do not know it.
 */
function expectSameConfig(folder: string, python: string): void {
  const settings = (path: string): object => {
    const { base_model_name_or_path: _, peft_version: _version, modules_to_save, ...json } = readAdapterConfig(path);
    return { init_weights: null, ...json, modules_to_save: [...new Set(modules_to_save as string[])] };
  };
  expect(settings(folder)).toEqual(settings(python));
}
