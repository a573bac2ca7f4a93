import type { HostTensor, Named } from "@peftjs/core";
import { float32 } from "@peftjs/core";
import type { Engine, Groups, TensorFunction } from "@peftjs/engine";
import { createEngine } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { values } from "./harness.ts";

type State = Record<string, HostTensor>;

const copy = (state: Named<HostTensor>): State =>
  Object.fromEntries(Object.entries(state).map(([name, tensor]) => [name, { ...tensor, data: tensor.data.slice() }]));
const numbers = (state: Named<HostTensor>): Record<string, number[]> =>
  Object.fromEntries(Object.entries(state).map(([name, { data }]) => [name, Array.from(data)]));

/** The state after some runs that write it over itself, and after as many that write it elsewhere. */
async function bothWays(
  engine: Engine,
  fn: TensorFunction,
  { state, data }: { readonly state: State; readonly data: Named<HostTensor> },
): Promise<[Record<string, number[]>, Record<string, number[]>]> {
  const inPlace = copy(state);
  let elsewhere: Named<HostTensor> = copy(state);
  const [a, b] = [engine.compile(fn), engine.compile(fn)];
  for (let i = 0; i < 3; i++) {
    await a.run({ state: inPlace, data }, { state: inPlace });
    elsewhere = (await b.run({ state: elsewhere, data }))["state"] as Named<HostTensor>;
  }
  expect(a.counters.programsBuilt).toBe(engine.name === "onnx" ? 1 : 0);
  await Promise.all([a.dispose(), b.dispose()]);
  return [numbers(inPlace), numbers(elsewhere)];
}

const LAYERS = ["w0", "w1", "w2", "w3"];

/** Gradient descent with momentum. A layer's weight is read in the backward pass, too, after its own gradient is known. */
const training: TensorFunction = ({ state = {}, data = {} }) => {
  const loss = (...weights: tf.Tensor[]): tf.Scalar => {
    const y = weights.reduce((x, w) => tf.tanh(tf.matMul(x, tf.transpose(w as tf.Tensor2D))), data["x"] as tf.Tensor);
    return tf.sum(tf.square(y));
  };
  const { value, grads } = tf.valueAndGrads(loss)(LAYERS.map((name) => state[name] as tf.Tensor));
  const next: Record<string, tf.Tensor> = {};
  LAYERS.forEach((name, i) => {
    const momentum = tf.add(tf.mul(state[`m.${name}`] as tf.Tensor, 0.9), grads[i] as tf.Tensor);
    next[`m.${name}`] = momentum;
    next[name] = tf.sub(state[name] as tf.Tensor, tf.mul(momentum, data["rate"] as tf.Tensor));
  });
  return { state: next, metrics: { loss: value } };
};

describe.each(["onnx", "eager"] as const)("results over arguments, %s", async (kind) => {
  const engine = await createEngine(kind === "onnx" ? { kind, threads: 2 } : { kind, backend: "cpu" });
  const pair = { a: values([2, 3], -1, 1, 1), b: values([2, 3], -1, 1, 2) };

  it("trains as with memory of its own, bit by bit", async () => {
    const weights = LAYERS.map((name, i) => [name, values([24, 24], -0.4, 0.4, i + 1)] as const);
    const momenta = LAYERS.map((name) => [`m.${name}`, values([24, 24], 0, 0)] as const);
    const [inPlace, elsewhere] = await bothWays(engine, training, {
      state: Object.fromEntries([...weights, ...momenta]),
      data: { x: values([16, 24]), rate: float32([0.05], []) },
    });
    expect(inPlace).toEqual(elsewhere);
    expect(inPlace["w0"]).not.toEqual(Array.from(weights[0]?.[1].data ?? []));
  });

  it.each<[string, TensorFunction]>([
    ["swapped", ({ state: { a, b } = {} }) => ({ state: { a: b as tf.Tensor, b: a as tf.Tensor } })],
    [
      "read late",
      ({ state: { a, b } = {} }) => {
        const sum = tf.add(a as tf.Tensor, 1);
        return { state: { a: sum, b: tf.mul(tf.add(b as tf.Tensor, sum), a as tf.Tensor) } };
      },
    ],
    [
      "mixed along an axis",
      ({ state: { a, b } = {} }) => ({
        state: {
          a: tf.cumsum(a as tf.Tensor, 1),
          b: tf.matMul(tf.matMul(b as tf.Tensor2D, a as tf.Tensor2D, false, true), b as tf.Tensor2D),
        },
      }),
    ],
    [
      "shared by two results, one of them a view",
      ({ state: { a, b } = {} }) => {
        const product = tf.mul(a as tf.Tensor, b as tf.Tensor);
        return { state: { a: product, b: tf.reshape(tf.reshape(product, [3, 2]), [2, 3]) } };
      },
    ],
    ["constant, and kept", ({ state: { b } = {} }) => ({ state: { a: tf.fill([2, 3], 0.5), b: b as tf.Tensor } })],
    [
      "transposed twice on the way",
      ({ state: { a, b } = {} }) => {
        const turned = tf.transpose(a as tf.Tensor);
        const next = tf.sub(a as tf.Tensor, b as tf.Tensor);
        return { state: { a: next, b: tf.transpose(tf.mul(turned, tf.transpose(tf.exp(next)))) } };
      },
    ],
  ])("%s", async (_, fn) => {
    const [inPlace, elsewhere] = await bothWays(engine, fn, { state: pair, data: {} });
    expect(inPlace).toEqual(elsewhere);
  });

  it("hands out the old value beside the new one", async () => {
    const compiled = engine.compile(({ s: { a } = {} }) => ({
      s: { a: tf.neg(a as tf.Tensor) },
      before: { a: a as tf.Tensor },
    }));
    const s = { a: float32([1, 2], [2]) };
    const { before } = await compiled.run({ s }, { s });
    expect([Array.from(before?.["a"]?.data ?? []), Array.from(s.a.data)]).toEqual([
      [1, 2],
      [-1, -2],
    ]);
  });
});

describe("memory that cannot be written to", async () => {
  const engine = await createEngine({ kind: "onnx", threads: 1 });
  const buffer = new Float32Array(6);
  const at = (offset: number): HostTensor => float32(buffer.subarray(offset, offset + 2), [2]);
  const negate = engine.compile(({ s: { a, b } = {} }) => ({
    s: { a: tf.neg(a as tf.Tensor), b: tf.neg(b as tf.Tensor) },
  }));
  it.each<[string, Groups<HostTensor>, Groups<HostTensor>]>([
    ["a part of an argument", { s: { a: at(0), b: at(4) } }, { s: { a: at(1) } }],
    ["another result's", { s: { a: at(0), b: at(2) } }, { s: { a: at(4), b: at(4) } }],
  ])("%s", async (_, args, into) => {
    await expect(negate.run(args, into)).rejects.toMatchObject({ code: "RESULT_OVERLAPS" });
  });

  it("views beside each other in one buffer are no overlap", async () => {
    buffer.set([1, 2, 3, 4, 5, 6]);
    const s = { a: at(0), b: at(2) };
    await negate.run({ s }, { s });
    expect(Array.from(buffer)).toEqual([-1, -2, -3, -4, 5, 6]);
  });
});
