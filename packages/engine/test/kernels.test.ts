import type { HostTensor } from "@peftjs/core";
import { dropout, float32, gelu, int32, layerNorm } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Op } from "./harness.ts";
import { compare, compareGradients, onnx, run, values } from "./harness.ts";

const UNARY: Record<
  string,
  { readonly op: (x: tf.Tensor) => tf.Tensor; readonly from?: number; readonly to?: number; readonly smooth?: false }
> = {
  abs: { op: tf.abs },
  acos: { op: tf.acos, from: -0.9, to: 0.9 },
  acosh: { op: tf.acosh, from: 1.1, to: 3 },
  asin: { op: tf.asin, from: -0.9, to: 0.9 },
  asinh: { op: tf.asinh },
  atan: { op: tf.atan },
  atanh: { op: tf.atanh, from: -0.9, to: 0.9 },
  ceil: { op: tf.ceil, smooth: false },
  clip: { op: (x) => tf.clipByValue(x, -0.5, 1.5) },
  cos: { op: tf.cos },
  cosh: { op: tf.cosh },
  elu: { op: tf.elu },
  erf: { op: tf.erf },
  exp: { op: tf.exp },
  expm1: { op: tf.expm1 },
  floor: { op: tf.floor, smooth: false },
  leakyRelu: { op: (x) => tf.leakyRelu(x, 0.2) },
  log: { op: tf.log, from: 0.1 },
  log1p: { op: tf.log1p, from: -0.9 },
  neg: { op: tf.neg },
  reciprocal: { op: tf.reciprocal, from: 0.3 },
  relu: { op: tf.relu },
  relu6: { op: (x) => tf.relu6(tf.mul(x, 5)) },
  rsqrt: { op: tf.rsqrt, from: 0.1 },
  selu: { op: tf.selu },
  sigmoid: { op: tf.sigmoid },
  sign: { op: tf.sign, smooth: false },
  sin: { op: tf.sin },
  sinh: { op: tf.sinh },
  softplus: { op: tf.softplus },
  sqrt: { op: tf.sqrt, from: 0.1 },
  square: { op: tf.square },
  step: { op: (x) => tf.step(x, 0.25), smooth: false },
  tan: { op: tf.tan, from: -1, to: 1 },
  tanh: { op: tf.tanh },
  zerosLike: { op: (x) => tf.add(tf.zerosLike(x), x) },
  onesLike: { op: (x) => tf.mul(tf.onesLike(x), x) },
  round: { op: tf.round, smooth: false },
};

describe("elementwise kernels", () => {
  it.each(Object.entries(UNARY))("%s", async (_, { op, from = -2, to = 2, smooth }) => {
    const x = values([3, 4], from, to);
    await compare(({ x: t }) => op(t as tf.Tensor), { x });
    if (smooth !== false) await compareGradients(({ x: t }) => op(t as tf.Tensor), { x });
  });

  const BINARY: Record<string, (a: tf.Tensor, b: tf.Tensor) => tf.Tensor> = {
    add: tf.add,
    sub: tf.sub,
    mul: tf.mul,
    div: tf.div,
    maximum: tf.maximum,
    minimum: tf.minimum,
    squaredDifference: tf.squaredDifference,
    pow: (a, b) => tf.pow(tf.abs(a), b),
    prelu: (a, b) => tf.prelu(a, b),
  };
  const shapes = fc.constantFrom<[number[], number[]]>(
    [[], []],
    [
      [2, 3],
      [2, 3],
    ],
    [[2, 3], [3]],
    [
      [4, 1, 3],
      [2, 1],
    ],
    [[1], [2, 2]],
    [[0, 3], [3]],
    [
      [2, 1, 3, 2],
      [4, 1, 1],
    ],
  );

  it.each(Object.entries(BINARY))("%s broadcasts", async (name, op) => {
    await fc.assert(
      fc.asyncProperty(shapes, fc.integer({ min: 1, max: 1e6 }), async ([a, b], seed) => {
        if (name === "prelu" && a.length < b.length) return;
        const inputs = { a: values(a, 0.2, 2, seed), b: values(b, 0.3, 2, seed + 1) };
        const call: Op = ({ a: x, b: y }) => op(x as tf.Tensor, y as tf.Tensor);
        await compare(call, inputs);
        // tfjs's own gradients of these do not sum over broadcast axes: they fail in every engine.
        const broadcast = a.join() !== b.join() && ["maximum", "minimum", "squaredDifference", "prelu"].includes(name);
        if (!a.includes(0) && !broadcast) await compareGradients(call, inputs);
      }),
      { numRuns: 12 },
    );
  });

  const COMPARE = {
    equal: tf.equal,
    notEqual: tf.notEqual,
    greater: tf.greater,
    greaterEqual: tf.greaterEqual,
    less: tf.less,
    lessEqual: tf.lessEqual,
  };
  it.each(Object.entries(COMPARE))("%s", async (_, op) => {
    const a = float32([1, 2, 3, Number.NaN, Infinity, -0], [6]);
    const b = float32([1, 3, 2, Number.NaN, Infinity, 0], [6]);
    await compare(({ a: x, b: y }) => op(x as tf.Tensor, y as tf.Tensor), { a, b });
  });

  it.each(["logicalAnd", "logicalOr", "logicalXor"] as const)("%s", async (name) => {
    const call: Op = ({ a, b }) => tf[name](tf.greater(a as tf.Tensor, 0), tf.greater(b as tf.Tensor, 0));
    await compare(call, { a: values([8], -1, 1, 3), b: values([8], -1, 1, 4) });
  });

  it("where, floorDiv, mod, addN, cast, isNaN, isInf, isFinite", async () => {
    const inputs = { a: values([5], -3, 3, 7), b: values([5], 0.5, 2, 8) };
    await compare(
      ({ a, b }) => tf.where(tf.logicalNot(tf.greater(a as tf.Tensor, 0)), a as tf.Tensor, b as tf.Tensor),
      inputs,
    );
    await compare(({ a, b }) => tf.floorDiv(a as tf.Tensor, b as tf.Tensor), inputs);
    await compare(({ a, b }) => tf.mod(a as tf.Tensor, b as tf.Tensor), inputs);
    await compare(({ a, b }) => tf.addN([a as tf.Tensor, b as tf.Tensor, a as tf.Tensor]), inputs);
    await compare(({ a }) => tf.cast(a as tf.Tensor, "int32"), inputs);
    await compare(({ a }) => tf.cast(a as tf.Tensor, "bool"), inputs);
    await compare(
      ({ a, b }) =>
        tf.floorDiv(tf.cast(tf.mul(a as tf.Tensor, 9), "int32"), tf.cast(tf.add(b as tf.Tensor, 1), "int32")),
      inputs,
    );
    const special = { x: float32([1, Number.NaN, Infinity, -Infinity], [4]) };
    for (const op of [tf.isNaN, tf.isInf, tf.isFinite]) await compare(({ x }) => op(x as tf.Tensor), special);
  });
});

describe("reductions", () => {
  const REDUCE = { sum: tf.sum, mean: tf.mean, prod: tf.prod, min: tf.min, max: tf.max };
  it.each(Object.entries(REDUCE))("%s", async (_, op) => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<number[] | number | undefined>(undefined, -1, 0, [0, 2], [1], [-1, 0]),
        fc.boolean(),
        async (axis, keep) => {
          const x = values([2, 3, 4], 0.5, 2);
          const call: Op = ({ x: t }) => op(t as tf.Tensor, axis, keep);
          await compare(call, { x });
          // tfjs's gradient of prod calls a method that tfjs-core does not register.
          if (op !== tf.prod) await compareGradients(call, { x });
        },
      ),
      { numRuns: 10 },
    );
  });

  it("all, any, argMax, argMin, cumsum, softmax, logSoftmax", async () => {
    const x = values([3, 5]);
    for (const axis of [0, 1]) {
      await compare(({ x: t }) => tf.all(tf.greater(t as tf.Tensor, -1), axis), { x });
      await compare(({ x: t }) => tf.any(tf.greater(t as tf.Tensor, 1), axis), { x });
      await compare(({ x: t }) => tf.argMax(t as tf.Tensor, axis), { x });
      await compare(({ x: t }) => tf.argMin(t as tf.Tensor, axis), { x });
      await compare(({ x: t }) => tf.cumsum(t as tf.Tensor, axis, true, axis === 0), { x });
    }
    for (const op of [tf.softmax, tf.logSoftmax]) {
      await compare(({ x: t }) => op(t as tf.Tensor), { x });
      await compareGradients(({ x: t }) => op(t as tf.Tensor), { x });
    }
  });
});

describe("structure", () => {
  const CASES: Record<string, Op> = {
    reshape: ({ x }) => tf.reshape(x as tf.Tensor, [4, -1]),
    expandDims: ({ x }) => tf.expandDims(x as tf.Tensor, 1),
    transpose: ({ x }) => tf.transpose(x as tf.Tensor, [2, 0, 1]),
    slice: ({ x }) => tf.slice(x as tf.Tensor, [0, 1, 0], [2, 2, -1]),
    concat: ({ x }) => tf.concat([x as tf.Tensor, tf.mul(x as tf.Tensor, 2)], 1),
    stack: ({ x }) => tf.stack([x as tf.Tensor, tf.neg(x as tf.Tensor)], 1),
    unstack: ({ x }) => tf.unstack(x as tf.Tensor, 1)[2] as tf.Tensor,
    split: ({ x }) => tf.split(x as tf.Tensor, [1, 3], 2)[1] as tf.Tensor,
    pad: ({ x }) =>
      tf.pad(
        x as tf.Tensor,
        [
          [0, 0],
          [1, 2],
          [0, 1],
        ],
        0.5,
      ),
    tile: ({ x }) => tf.tile(x as tf.Tensor, [1, 2, 3]),
    reverse: ({ x }) => tf.reverse(x as tf.Tensor, [0, 2]),
    broadcastTo: ({ x }) => tf.broadcastTo(tf.reshape(x as tf.Tensor, [2, 1, 3, 4]), [2, 3, 3, 4]),
    fill: ({ x }) => tf.add(x as tf.Tensor, tf.fill([2, 3, 4], 1.5)),
    range: ({ x }) => tf.add(x as tf.Tensor, tf.range(0, 4, 1)),
  };
  it.each(Object.entries(CASES))("%s", async (_, op) => {
    const x = values([2, 3, 4]);
    await compare(op, { x });
    await compareGradients(op, { x });
  });

  it("gather with its gradient, gatherND, scatterND, oneHot", async () => {
    const table = values([6, 3]);
    const ids = int32([5, 0, 5, 2], [2, 2]);
    const look: Op = ({ table: t }) => tf.gather(t as tf.Tensor, tf.tensor([5, 0, 5, 2], [2, 2], "int32"));
    await compare(({ table: t, ids: i }) => tf.gather(t as tf.Tensor, i as tf.Tensor1D), { table, ids });
    await compareGradients(look, { table });
    await compare(({ table: t }) => tf.gather(t as tf.Tensor, tf.tensor1d([2, 0], "int32"), 1), { table });
    await compare(({ table: t, i }) => tf.gatherND(t as tf.Tensor, i as tf.Tensor), {
      table,
      i: int32([1, 2, 5, 0], [2, 2]),
    });
    await compare(({ i, u }) => tf.scatterND(i as tf.Tensor, u as tf.Tensor, [4]), {
      i: int32([3, 1, 3], [3, 1]),
      u: float32([1, 2, 3], [3]),
    });
    await compare(({ i }) => tf.oneHot(i as tf.Tensor, 4), { i: int32([0, 3, -1, 7], [4]) });
    await compare(({ i }) => tf.oneHot(i as tf.Tensor, 3, 2, -1), { i: int32([0, 2], [2]) });
  });

  it.each([
    [[4, 3], [3, 5], false, false],
    [[3, 4], [3, 5], true, false],
    [[4, 3], [5, 3], false, true],
    [[3, 4], [5, 3], true, true],
    [[2, 4, 3], [2, 5, 3], false, true],
    [[2, 3, 4, 3], [2, 3, 3, 5], false, false],
  ] as const)("matMul %j × %j, %s, %s", async (a, b, ta, tb) => {
    const call: Op = ({ a: x, b: y }) => tf.matMul(x as tf.Tensor, y as tf.Tensor, ta, tb);
    const inputs = { a: values(a, -1, 1, 5), b: values(b, -1, 1, 6) };
    await compare(call, inputs);
    await compareGradients(call, inputs);
  });
});

describe("operations of core", () => {
  it("gelu and layerNorm with their gradients", async () => {
    const inputs = { x: values([5, 8], -4, 4), gamma: values([8], 0.5, 1.5, 2), beta: values([8], -1, 1, 3) };
    const normalized: Op = ({ x, gamma, beta }) =>
      layerNorm(x as tf.Tensor, gamma as tf.Tensor, beta as tf.Tensor, 1e-5);
    await compare(normalized, inputs);
    await compareGradients(normalized, inputs);
    await compare(({ x }) => gelu(x as tf.Tensor), { x: inputs.x });
    await compareGradients(({ x }) => gelu(x as tf.Tensor), { x: inputs.x });
  });

  it("dropout draws the same mask in both engines, another one per step and per call", async () => {
    const x = float32(new Float32Array(64 * 96).fill(1), [64, 96]);
    const drop =
      (stream: number): Op =>
      ({ x: t, key }) =>
        dropout(t as tf.Tensor, 0.25, key as tf.Tensor1D, stream);
    const first = { x, key: int32([3, 1], [2]) };
    await compare(drop(1), first);
    const masks = [
      await run(onnx, drop(1), first),
      await run(onnx, drop(2), first),
      await run(onnx, drop(1), { x, key: int32([3, 2], [2]) }),
    ];
    const kept = masks.map(
      ({ data }) => (data as Float32Array).reduce((sum, value) => sum + Math.sign(value), 0) / x.data.length,
    );
    for (const share of kept) expect(Math.abs(share - 0.75)).toBeLessThan(0.02);
    const both = (a: HostTensor, b: HostTensor): number =>
      (a.data as Float32Array).reduce((sum, value, i) => sum + Math.sign(value * (b.data[i] as number)), 0) /
      x.data.length;
    // Independent masks keep a place together with probability 0.75².
    expect(Math.abs(both(masks[0] as HostTensor, masks[1] as HostTensor) - 0.5625)).toBeLessThan(0.02);
    expect(Math.abs(both(masks[0] as HostTensor, masks[2] as HostTensor) - 0.5625)).toBeLessThan(0.02);
  });
});
