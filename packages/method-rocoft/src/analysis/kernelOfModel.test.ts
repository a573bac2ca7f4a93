import { readFileSync } from "node:fs";
import { defineMethod, float32, PeftModel, targetFields } from "@peftjs/core";
import type { HostTensor, Method } from "@peftjs/core";
import { fromPretrained } from "@peftjs/models";
import { tol, installMatchers } from "@peftjs/testkit";
import {
  describeOnEngines,
  loadReference,
  readReference,
  referenceBatch,
  relativeDifference,
} from "@peftjs/testkit/conformance";
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { z } from "zod";
import { rocoft } from "../index.ts";
import { empiricalKernel, type EmpiricalKernel } from "./kernelOfModel.ts";
import { all, biases, columns, noHead, rows, type Subset } from "./subsets.ts";

installMatchers();

interface Expected {
  readonly size: number;
  readonly logits: readonly (readonly number[])[];
  readonly kernel: readonly (readonly number[])[];
}

/** Written by fixtures/ntk/make.py with torch, in float64. */
const fixtures = new URL("../../../../fixtures/", import.meta.url);
const reference = JSON.parse(readFileSync(new URL("ntk/kernels.json", fixtures), "utf8")) as Readonly<
  Record<"bert" | "moved" | "lora", Readonly<Record<string, Expected>>>
>;
const bertFolder = new URL("lora/bert-patterns/", fixtures);

/** The four examples of a case, one batch, and its model. */
async function bert(): Promise<{ model: PeftModel; examples: Record<string, HostTensor>[] }> {
  const model = new PeftModel(await fromPretrained(new URL("base", bertFolder).pathname));
  return { model, examples: [referenceBatch(await readReference(bertFolder), 0)] };
}

/** Within 1e-5 of the largest entry, and the same size and logits. */
function expectKernel(kernel: EmpiricalKernel, expected: Expected): void {
  expect(kernel.shape).toEqual([4, 3, 4, 3]);
  expect(kernel.subset.size).toBe(expected.size);
  expect(relativeDifference(kernel.values.data, expected.logits.flat())).toBeLessThan(1e-5);
  expect(relativeDifference(kernel.data, expected.kernel.flat())).toBeLessThan(1e-5);
}

const subsets: Record<string, Subset> = {
  ...{ all, noHead, biases, finite: all },
  embeddings: ({ kind }) => kind === "embedding",
  rows: rows(3),
  columns: columns(3),
  rowWithHead: rows(1, { head: true }),
};

/** LoRA, y = base(x) + (α/r)·x·Aᵀ·Bᵀ, as little of it as the reference needs. */
const LowRankConfig = z.strictObject({ ...targetFields, r: z.int(), alpha: z.number() });
const lowRank = defineMethod<z.infer<typeof LowRankConfig>>({
  name: "low-rank",
  description: "A low-rank addition.",
  package: "@peftjs/method-rocoft",
  config: LowRankConfig,
  wire: {
    peftType: "LORA",
    config: { r: "r", alpha: "lora_alpha", targetModules: "target_modules" },
    tensors: { a: "lora_A.weight", b: "lora_B.weight" },
  },
  capabilities: { merge: false, multiAdapter: false, identityAtStart: false },
  targets: (config) => config,
  init: ({ site: { inFeatures, outFeatures }, config: { r } }) => ({
    params: {
      a: float32(new Float32Array(r * inFeatures), [r, inFeatures]),
      b: float32(new Float32Array(outFeatures * r), [outFeatures, r]),
    },
  }),
  forward: ({ x, base, params: { a, b }, config: { r, alpha } }) =>
    tf.add(
      base(x),
      tf.mul(tf.matMul(tf.matMul(x, a as tf.Tensor2D, false, true), b as tf.Tensor2D, false, true), alpha / r),
    ),
});

describeOnEngines("kernels in torch", (engine) => {
  it.each(Object.keys(subsets))("BERT: %s", async (name) => {
    const { model, examples } = await bert();
    const kernel = await empiricalKernel(model, { examples, subset: subsets[name], runner: engine() });
    expectKernel(kernel, reference.bert[name]!);
  });

  it("an adapter of low rank", async () => {
    const lora = await readReference(new URL("lora/roberta/", fixtures));
    const model = await loadReference(lora, { method: lowRank as unknown as Method, stage: "start" });
    const kernel = await empiricalKernel(model, { examples: [referenceBatch(lora, 0)], runner: engine() });
    expectKernel(kernel, reference.lora["trained"]!);
  });

  it("a RoCoFT adapter whose rows have moved: what it trains, and the same rows of the base model", async () => {
    const { model, examples } = await bert();
    await model.attach({ method: rocoft, config: { rank: 2, targetModules: ["query", "value"] } });
    for (const [name, { shape }] of Object.entries(model.trainable())) {
      const moved = Float32Array.from({ length: 2 * 16 }, (_, at) => 0.1 * Math.cos(at));
      if (name.endsWith(".delta")) model.setTrainable({ [name]: float32(moved, shape) });
    }
    const expected = reference.moved["rows"]!;
    expectKernel(await empiricalKernel(model, { examples, runner: engine() }), expected);
    const same: Subset = (candidate) => ["query", "value"].includes(candidate.site?.role ?? "") && rows(2)(candidate);
    expectKernel(await empiricalKernel(model, { examples, subset: same, runner: engine() }), expected);
  });

  it("blocks of any size, and rows that only fill up", async () => {
    const { model, examples } = await bert();
    const options = { subset: rows(3), runner: engine() };
    const blocks = await empiricalKernel(model, { ...options, examples, exampleBlock: 3, parameterBlock: 100 });
    expectKernel(blocks, reference.bert["rows"]!);
    const weights = float32([1, 0, 0, 1], [4]);
    const some = await empiricalKernel(model, {
      ...options,
      examples: examples.map((batch) => ({ ...batch, row_weights: weights })),
    });
    expect(some.shape).toEqual([2, 3, 2, 3]);
    const corner = (data: Float64Array, width: number): number[] => [...data.subarray(width - 3, width)];
    expect(corner(some.data, 6)).toBeAllClose(corner(blocks.data, 12), tol.float32);
  });
});
