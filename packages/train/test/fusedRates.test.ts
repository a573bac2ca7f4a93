import { float32, parseConfig, peft } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import type * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { parseTrainingConfig } from "../src/config.ts";
import { adamW } from "../src/optim/adamw.ts";
import { scaledUpdate } from "../src/optim/elementScale.ts";
import { optimizerOf } from "../src/optim/fromConfig.ts";
import type { ParamGroupRule } from "../src/optim/optimizer.ts";
import { initialState } from "../src/optim/tensors.ts";
import { attentionRates } from "../src/plugins/attentionRates.ts";
import { Stepper } from "../src/step/stepper.ts";
import { expectClose } from "./close.ts";
import { linearModel, tracked } from "./linearModel.ts";
import { onLayer } from "./parameters.ts";
import { sequence, tinyBatch } from "./tinyModel.ts";

const [RANK, WIDTH] = [2, 3];
const shape = [3 * WIDTH, RANK];
const part = (role: string, i: number) => ({ role, from: i * WIDTH, to: (i + 1) * WIDTH });
const parts = ["query", "key", "value"].map(part);
/** B of LoRA on a fused layer. */
const b = onLayer("h.0.attn.c_attn", "b", {
  ...{ shape, role: "queryKeyValue" },
  site: { inFeatures: WIDTH, outFeatures: 3 * WIDTH, layout: "in_out", parts },
});

describe.each(["eager", "onnx"] as const)("a fused layer under AdamW (%s)", (kind) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine(kind === "eager" ? { kind, backend: "cpu" } : { kind, threads: 1 });
  });

  /** B after five steps with decay, from the gradients of a fixed sequence. */
  async function trained(rule: ParamGroupRule): Promise<Float32Array> {
    const optimizer = adamW({ weightDecay: 0.1, paramGroups: rule });
    const group = optimizer.group({ name: b.key, shape });
    const program = engine.compile(({ params = {}, grads = {}, state = {}, scalars = {}, scales = {} }) => {
      const context = { params, grads, groups: { b: group }, state, scalars, gradientScale: null };
      const updated = optimizer.update(context);
      const after = updated.params["b"] as tf.Tensor;
      const { b: scale } = scales;
      const before = params["b"] as tf.Tensor;
      return {
        params: { b: scale === undefined ? after : scaledUpdate({ before, after, scale }) },
        state: updated.state,
      };
    });
    const next = sequence(7);
    const random = (): HostTensor => float32(Array.from({ length: 9 * RANK }, next), shape);
    let params: Named<HostTensor> = { b: random() };
    let state = initialState(optimizer, params);
    const scales = group.elementScale === undefined ? {} : { scales: { b: group.elementScale } };
    for (let step = 1; step <= 5; step++) {
      const scalars = optimizer.scalars(step, 1e-2);
      const result = await program.run({ params, grads: { b: random() }, state, scalars, ...scales });
      [params, state] = [result["params"] as Named<HostTensor>, result["state"] ?? {}];
    }
    await program.dispose();
    return params["b"]!.data as Float32Array;
  }

  const rows = (data: Float32Array, i: number): Float32Array => data.slice(i * WIDTH * RANK, (i + 1) * WIDTH * RANK);
  const rates = (config: object): ParamGroupRule => {
    const parsed = parseConfig(attentionRates, config);
    return () => attentionRates.parameterGroup!(b, parsed);
  };

  it("learns at η in the rows of queries, at λη in those of values, and not at all in those of keys", async () => {
    const [plain, faster, still] = [
      await trained(() => ({})),
      await trained(() => ({ lrScale: 4 })),
      await trained(() => ({ lrScale: 0 })),
    ];
    const own = await trained(rates({ lambda: 4, roles: ["query", "value"] }));
    expect(rows(own, 0)).toEqual(rows(plain, 0));
    expect(rows(own, 1)).toEqual(rows(still, 1));
    expect(rows(own, 1)).not.toEqual(rows(plain, 1));
    expectClose(rows(own, 2), rows(faster, 2), 2e-6);
    expect(await trained(rates({ lambda: 1 }))).toEqual(plain);
  });
});

describe("a fused layer in a run", () => {
  /** Weight [3, 6] of the method on the model's one layer, whose three outputs are a query, a key and a value. */
  const A = "default.classifier.a";

  async function stepped(config: object | null, { wholeSize, micro }: { wholeSize: number; micro: number }) {
    const base = linearModel();
    const outputs = ["query", "key", "value"].map((role, i) => ({ role, from: i, to: i + 1 }));
    const builder = peft({ ...base, sites: base.sites.map((site) => ({ ...site, parts: outputs })) }).use(tracked());
    const model = await (config === null ? builder : builder.use(attentionRates, config)).apply();
    const training = parseTrainingConfig({ optimizer: "sgd", learningRate: 0.1, weightDecay: 0.1 });
    const stepper = new Stepper({
      ...{
        model,
        engine: await createEngine({ kind: "onnx", threads: 1 }),
        optimizer: optimizerOf(training, { model }),
      },
      ...{ maxGradNorm: 1, seed: 0, wholeSize },
    });
    const before = Float32Array.from(model.trainable()[A]!.data);
    const batches = Array.from({ length: micro }, (_, i) => tinyBatch(i));
    await stepper.step({ batches, firstBatch: 0, step: 1, learningRate: 0.1 });
    await stepper.dispose();
    const { data } = model.trainable()[A]!;
    return [0, 1, 2].map((row) => before.slice(6 * row, 6 * row + 6).map((value, i) => data[6 * row + i]! - value));
  }

  it.each([
    ["as a whole", { wholeSize: 1e6, micro: 1 }],
    ["part by part", { wholeSize: 0, micro: 1 }],
    ["from two micro-batches", { wholeSize: 1e6, micro: 2 }],
  ])("moves as its parts say, %s", async (_, how) => {
    const plain = await stepped(null, how);
    const own = await stepped({ lambda: 4, roles: ["query", "value"] }, how);
    expect(plain.every((row) => row.some((change) => Math.abs(change) > 1e-3))).toBe(true);
    expect(own[0]).toEqual(plain[0]);
    expect(own[1]).toEqual(new Float32Array(6));
    expectClose(
      own[2]!,
      plain[2]!.map((change) => 4 * change),
      1e-4,
    );
    expect(await stepped({ lambda: 1 }, how)).toEqual(plain);
  });
});
