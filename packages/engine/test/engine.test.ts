import type { HostTensor } from "@peftjs/core";
import { float32, int32, zeros } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import { createEngine } from "@peftjs/engine";
import { compiledEngine, eagerEngine } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";

const row = (...values: number[]): HostTensor => float32(values, [values.length]);

describe.each(["eager", "onnx"] as const)("the %s engine", (kind) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine(kind === "eager" ? eagerEngine : compiledEngine);
  });

  it("runs a function with its gradient", async () => {
    const compiled = engine.compile(({ args: { x, w } = {} }) => {
      const { value, grads } = tf.valueAndGrads((a, b) => tf.sum(tf.square(tf.mul(a, b))) as tf.Scalar)([
        x as tf.Tensor,
        w as tf.Tensor,
      ]);
      return { out: { value }, grads: { x: grads[0] as tf.Tensor } };
    });
    const { out, grads } = await compiled.run({ args: { x: row(1, 2), w: row(3, -1) } });
    expect(Array.from(out?.["value"]?.data ?? [])).toEqual([13]);
    expect(Array.from(grads?.["x"]?.data ?? [])).toEqual([18, 4]);
  });

  it("hands over a group without tensors as one, which is another signature than none", async () => {
    const groups: string[][] = [];
    const compiled = engine.compile((args) => {
      groups.push(Object.keys(args));
      return { out: { y: tf.neg(args["frozen"]?.["x"] as tf.Tensor) } };
    });
    await compiled.run({ frozen: { x: row(1) }, trainable: {} });
    await compiled.run({ frozen: { x: row(1) } });
    expect(groups).toEqual([["frozen", "trainable"], ["frozen"]]);
  });

  it("writes results into given memory and leaves arguments alone", async () => {
    const compiled = engine.compile(({ s: { a } = {} }) => ({
      s: { a: tf.add(a as tf.Tensor, 1) },
      m: { sum: tf.sum(a as tf.Tensor) },
    }));
    let state = { a: row(1, 2, 3) };
    let spare = { a: zeros([3]) };
    for (let i = 0; i < 3; i++) {
      const results = await compiled.run({ s: state }, { s: spare });
      expect(results["s"]?.["a"]).toBe(spare.a);
      [state, spare] = [spare, state];
    }
    expect(Array.from(state.a.data)).toEqual([4, 5, 6]);
    expect(Array.from(spare.a.data)).toEqual([3, 4, 5]);
  });

  it("returns an argument, a constant and one value under two names", async () => {
    const compiled = engine.compile(({ s: { a } = {} }) => {
      const twice = tf.mul(a as tf.Tensor, 2);
      return { out: { same: a as tf.Tensor, first: twice, second: twice, one: tf.ones([2, 2]) } };
    });
    const { out } = await compiled.run({ s: { a: row(1, 2) } });
    expect(Object.values(out ?? {}).map(({ data }) => Array.from(data))).toEqual([
      [1, 2],
      [2, 4],
      [2, 4],
      [1, 1, 1, 1],
    ]);
  });

  it("keeps no tensor alive from run to run", async () => {
    const compiled = engine.compile(
      ({ s: { a } = {}, c: { w } = {} }) => ({ s: { a: tf.mul(a as tf.Tensor, w as tf.Tensor) } }),
      { constant: ["c"] },
    );
    const args = { s: { a: row(1, 2) }, c: { w: row(1, 1) } };
    await compiled.run(args);
    const before = tf.memory().numTensors;
    for (let i = 0; i < 20; i++) await compiled.run(args);
    expect(tf.memory().numTensors).toBe(before);
    await compiled.dispose();
  });
});

describe("compiled programs", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine({ kind: "onnx", threads: 1 });
  });

  it("are built once per signature, and the least recently used one goes first", async () => {
    const compiled = engine.compile(({ s: { a } = {} }) => ({ s: { a: tf.neg(a as tf.Tensor) } }), { maxPrograms: 2 });
    const run = (size: number): Promise<unknown> => compiled.run({ s: { a: zeros([size]) } });
    for (const size of [1, 2, 1, 2]) await run(size);
    expect(compiled.counters).toMatchObject({ programsBuilt: 2, programsEvicted: 0, runs: 4 });
    for (const size of [1, 3, 1]) await run(size);
    expect(compiled.counters).toMatchObject({ programsBuilt: 3, programsEvicted: 1 });
    await run(2);
    expect(compiled.counters).toMatchObject({ programsBuilt: 4, programsEvicted: 2 });
    await compiled.dispose();
  });

  it("see new values in the memory of an argument", async () => {
    const compiled = engine.compile(({ s: { a } = {} }) => ({ s: { a: tf.add(a as tf.Tensor, 1) } }));
    const a = row(1, 2);
    await compiled.run({ s: { a } });
    a.data.set([10, 20]);
    const { s } = await compiled.run({ s: { a } });
    expect(Array.from(s?.["a"]?.data ?? [])).toEqual([11, 21]);
  });

  it("leave the active backend as it was", async () => {
    await createEngine({ kind: "eager", backend: "cpu" });
    await engine.compile(({ s: { a } = {} }) => ({ s: { a: tf.neg(a as tf.Tensor) } })).run({ s: { a: row(1) } });
    expect(tf.getBackend()).toBe("cpu");
    expect(Array.from(tf.neg(tf.tensor1d([2])).dataSync())).toEqual([-2]);
  });
});

it("createEngine names the engines there are", async () => {
  await expect(createEngine({ kind: "jax" as "onnx" })).rejects.toMatchObject({ code: "ENGINE_UNKNOWN" });
});

it("int32 arguments stay int32", async () => {
  const engine = await createEngine({ kind: "onnx", threads: 1 });
  const { out } = await engine
    .compile(({ s: { a } = {} }) => ({ out: { a: tf.add(a as tf.Tensor, tf.scalar(1, "int32")) } }))
    .run({ s: { a: int32([1, -5], [2]) } });
  expect(out?.["a"]).toMatchObject({ dtype: "int32", shape: [2] });
  expect(Array.from(out?.["a"]?.data ?? [])).toEqual([2, -4]);
});
