import { readFileSync } from "node:fs";
import { float32 } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { expectClose } from "../../test/close.ts";
import { adamW, clipScale, decays, globalNorm, initialState, sgd } from "../index.ts";
import type { Optimizer, ParamGroup, ParamGroupRule } from "../index.ts";

interface Reference {
  readonly optimizers: {
    readonly params: Record<string, { shape: number[]; data: number[] }>;
    readonly grads: Record<string, number[]>[];
    readonly learningRates: number[];
  } & Record<"adamw" | "sgd" | "sgdNesterov" | "sgdPlain", Record<string, number[]>[]>;
  readonly clip: readonly { maxNorm: number; norm: number; grads: number[][] }[];
}
const reference = JSON.parse(
  readFileSync(new URL("../../../../fixtures/train/reference.json", import.meta.url), "utf8"),
) as Reference;
const { params, grads, learningRates } = reference.optimizers;
const shapeOf = (name: string): number[] => (params[name] as { shape: number[] }).shape;
const gradsAt = (step: number): Named<HostTensor> =>
  Object.fromEntries(
    Object.entries(grads[step - 1] as Record<string, number[]>).map(([name, data]) => [
      name,
      float32(data, shapeOf(name)),
    ]),
  );

/** The fixture's bias has twice the learning rate. */
const paramGroups: ParamGroupRule = ({ name }) => ({ lrScale: name.endsWith("bias") ? 2 : 1 });

const groupsOf = (optimizer: Optimizer): Named<ParamGroup> =>
  Object.fromEntries(Object.entries(params).map(([name, { shape }]) => [name, optimizer.group({ name, shape })]));

async function trajectory(engine: Engine, optimizer: Optimizer): Promise<Named<HostTensor>[]> {
  let values: Named<HostTensor> = Object.fromEntries(
    Object.entries(params).map(([name, { shape, data }]) => [name, float32(data, shape)]),
  );
  let state = initialState(optimizer, values);
  const program = engine.compile(({ values: p = {}, grads: g = {}, state: s = {}, scalars = {} }) => {
    const update = optimizer.update({
      params: p,
      grads: g,
      groups: groupsOf(optimizer),
      state: s,
      scalars,
      gradientScale: null,
    });
    return { values: update.params, state: update.state };
  });
  const visited: Named<HostTensor>[] = [];
  for (const [i, rate] of learningRates.entries()) {
    const results = await program.run({
      values,
      grads: gradsAt(i + 1),
      state,
      scalars: optimizer.scalars(i + 1, rate),
    });
    values = results["values"] as Named<HostTensor>;
    state = results["state"] ?? {};
    visited.push(values);
  }
  await program.dispose();
  return visited;
}

describe.each(["eager", "onnx"] as const)("optimizers (%s)", (kind) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine(kind === "eager" ? { kind, backend: "cpu" } : { kind, threads: 1 });
  });

  it.each([
    ["adamw", adamW({ beta2: 0.98, weightDecay: 0.1, paramGroups })],
    ["sgd", sgd({ momentum: 0.9, weightDecay: 0.1, paramGroups })],
    ["sgdNesterov", sgd({ momentum: 0.8, nesterov: true, paramGroups })],
    ["sgdPlain", sgd({ paramGroups })],
  ] as const)("%s follows torch for 20 steps", async (name, optimizer) => {
    const visited = await trajectory(engine, optimizer);
    expect(visited).toHaveLength(20);
    reference.optimizers[name].forEach((expected, step) => {
      for (const [parameter, data] of Object.entries(expected))
        expectClose((visited[step]?.[parameter] as HostTensor).data, data, 3e-6);
    });
  });

  it.each(reference.clip)("clips to $maxNorm as torch does", async ({ maxNorm, norm, grads: expected }) => {
    const program = engine.compile(({ grads: g = {} }) => {
      const total = globalNorm(g);
      const scale = clipScale(total, maxNorm);
      return {
        out: {
          norm: total,
          ...Object.fromEntries(Object.entries(g).map(([name, tensor]) => [name, tf.mul(tensor, scale)])),
        },
      };
    });
    const { out = {} } = await program.run({ grads: gradsAt(1) });
    expectClose((out["norm"] as HostTensor).data, [norm]);
    Object.keys(params).forEach((name, i) => expectClose((out[name] as HostTensor).data, expected[i] as number[]));
    await program.dispose();
  });

  it("folds the clipping factor into the update", async () => {
    for (const optimizer of [adamW({ weightDecay: 0.1 }), sgd({ momentum: 0.9, weightDecay: 0.1 })]) {
      const step = (folded: boolean) =>
        engine.compile(({ p = {}, g = {}, state = {}, scalars = {}, factor = {} }) => {
          const scale = factor["scale"] as tf.Scalar;
          const scaled = Object.fromEntries(Object.entries(g).map(([name, tensor]) => [name, tf.mul(tensor, scale)]));
          const update = optimizer.update({
            params: p,
            grads: folded ? g : scaled,
            groups: groupsOf(optimizer),
            state,
            scalars,
            gradientScale: folded ? scale : null,
          });
          return { p: update.params, state: update.state };
        });
      const p = Object.fromEntries(
        Object.entries(params).map(([name, { shape, data }]) => [name, float32(data, shape)]),
      );
      const args = {
        p,
        g: gradsAt(1),
        state: initialState(optimizer, p),
        scalars: optimizer.scalars(1, 0.1),
        factor: { scale: float32([0.3], []) },
      };
      const [a, b] = await Promise.all([step(true).run(args), step(false).run(args)]);
      for (const group of ["p", "state"]) {
        for (const [name, tensor] of Object.entries(b[group] as Named<HostTensor>))
          expectClose((a[group]?.[name] as HostTensor).data, tensor.data);
      }
    }
  });
});

describe("defaults", () => {
  it("decays weights, not biases and norms", () => {
    const undecayed = [
      "bert.encoder.layer.0.output.dense.bias",
      "bert.encoder.layer.0.output.LayerNorm.weight",
      "lm_head.layer_norm.weight",
      "model.norm.weight",
      "h.0.ln_1.weight",
      "ln_f.weight",
      "layers.0.input_layernorm.weight",
    ];
    expect(undecayed.filter(decays)).toEqual([]);
    const decayed = [
      "bert.encoder.layer.0.output.dense.weight",
      "default.bert.encoder.layer.0.attention.self.query.a",
      "normal.weight",
    ];
    expect(decayed.filter(decays)).toEqual(decayed);
  });

  it("keeps state by parameter name and refuses Nesterov without momentum", () => {
    const p = { x: float32([1, 2], [2]) };
    expect(Object.keys(initialState(adamW(), p))).toEqual(["m.x", "v.x"]);
    expect(Object.keys(initialState(sgd({ momentum: 0.5 }), p))).toEqual(["b.x"]);
    expect(initialState(sgd(), p)).toEqual({});
    expect(() => sgd({ nesterov: true })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }) as Error);
  });
});
