import { float32, int32, narrow, widen, type HalfType, type Named, type StoredTensor } from "@peftjs/core";
import { gate } from "@peftjs/core/internal";
import type { Engine, Groups, TensorFunction } from "@peftjs/engine";
import { createEngine } from "@peftjs/engine";
import { compiledEngine, eagerEngine } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { values } from "./harness.ts";

const WIDTH = 256;
const VOCABULARY = 300;

/** A table, two layers that read their weights in both passes and a product with the table; what learns is beside the layers. */
const step: TensorFunction = ({ frozen = {}, trainable = {}, batch = {} }) => {
  const [table, bias] = [frozen["table"] as tf.Tensor2D, frozen["bias"] as tf.Tensor1D];
  const names = Object.keys(trainable);
  const loss = (...parts: tf.Tensor[]): tf.Scalar => {
    const start = tf.gather(table, batch["ids"] as tf.Tensor1D) as tf.Tensor;
    const x = parts.reduce((input, part, i) => {
      const product = tf.matMul(input, frozen[`w${i}`] as tf.Tensor, false, i % 2 === 0);
      return tf.tanh(tf.add(tf.add(product, bias), tf.mul(input, part)));
    }, start);
    return tf.mean(tf.square(tf.matMul(x, table, false, true)));
  };
  const { value, grads } = tf.valueAndGrads(loss)(names.map((name) => trainable[name] as tf.Tensor));
  return { out: { value }, grads: Object.fromEntries(names.map((name, i) => [name, grads[i] as tf.Tensor])) };
};

const wide = {
  table: values([VOCABULARY, WIDTH], -1, 1, 1),
  bias: values([WIDTH], -1, 1, 2),
  w0: values([WIDTH, WIDTH], -0.1, 0.1, 3),
  w1: values([WIDTH, WIDTH], -0.1, 0.1, 4),
};
const rest = {
  trainable: { p0: values([WIDTH], -1, 1, 5), p1: values([WIDTH], -1, 1, 6) },
  batch: { ids: int32([5, 299, 0, 7], [4]) },
};

const mapped = (named: Named<StoredTensor>, map: (tensor: StoredTensor) => StoredTensor): Named<StoredTensor> =>
  Object.fromEntries(Object.entries(named).map(([name, tensor]) => [name, map(tensor)]));

describe.each(["eager", "onnx"] as const)("the %s engine", (kind) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine(kind === "eager" ? eagerEngine : compiledEngine);
  });

  const run = async (
    fn: TensorFunction,
    args: Groups<StoredTensor>,
  ): ReturnType<ReturnType<Engine["compile"]>["run"]> => {
    const compiled = engine.compile(fn, { constant: ["frozen"] });
    const results = await compiled.run(args);
    expect(await compiled.run(args)).toEqual(results);
    await compiled.dispose();
    return results;
  };

  it.each(["float16", "bfloat16"] as const)(
    "computes of %s weights what it computes of the widened ones",
    async (dtype) => {
      const frozen = mapped(wide, (tensor) => narrow(tensor, dtype));
      const results = await run(step, { ...rest, frozen });
      expect(results).toEqual(await run(step, { ...rest, frozen: mapped(frozen, widen) }));
      expect(results["out"]?.["value"]?.data[0]).toBeGreaterThan(0.1);
    },
  );

  it("takes weights of several types at once", async () => {
    const frozen = {
      ...mapped(wide, (tensor) => narrow(tensor, "bfloat16")),
      w0: narrow(wide.w0, "float16"),
      w1: wide.w1,
    };
    expect(await run(step, { ...rest, frozen })).toEqual(await run(step, { ...rest, frozen: mapped(frozen, widen) }));
  });

  it.each(["float16", "bfloat16"] as const)("widens %s weights and rows behind a gate", async (dtype) => {
    const fn: TensorFunction = ({ frozen: { w0, table } = {}, batch: { ids, open } = {} }) => {
      const rows = tf.gather(table as tf.Tensor2D, ids as tf.Tensor1D);
      return { out: { y: gate(tf.matMul(rows, w0 as tf.Tensor2D), open as tf.Scalar) } };
    };
    const frozen = mapped(wide, (tensor) => narrow(tensor, dtype));
    for (const open of [0, 1]) {
      const batch = { ...rest.batch, open: float32([open], []) };
      const results = await run(fn, { frozen, batch });
      expect(results).toEqual(await run(fn, { frozen: mapped(frozen, widen), batch }));
      expect(results["out"]?.["y"]?.data.some((value) => value !== 0)).toBe(open === 1);
    }
  });

  it.each(["float16", "bfloat16"] as const)("widens every pattern of %s", async (dtype) => {
    const x: StoredTensor = { dtype, shape: [65_536], data: Uint16Array.from({ length: 65_536 }, (_, bits) => bits) };
    const { out } = await run(({ frozen: named = {} }) => ({ out: { y: named["x"] as tf.Tensor } }), { frozen: { x } });
    const [actual, expected] = [out?.["y"]?.data as Float32Array, widen(x).data];
    expect(out?.["y"]).toMatchObject({ dtype: "float32", shape: [65_536] });
    expect(actual.findIndex((value, i) => !Object.is(value, expected[i]))).toBe(-1);
  });

  it("shows the function a float32 tensor", async () => {
    const x = narrow(float32([1, 2], [2]), "float16");
    const fn: TensorFunction = ({ frozen = {} }) => {
      const tensor = frozen["x"] as tf.Tensor;
      expect([tensor.dtype, tensor.shape]).toEqual(["float32", [2]]);
      return { out: { y: tf.add(tensor, tf.scalar(1)) } };
    };
    const { out } = await run(fn, { frozen: { x } });
    expect(out?.["y"]).toEqual(float32([2, 3], [2]));
  });
});

describe("a compiled program", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine(compiledEngine);
  });

  it("is one per storage type, and sees the values of every call", async () => {
    const compiled = engine.compile(({ frozen = {} }) => ({ out: { y: tf.square(frozen["x"] as tf.Tensor) } }));
    const of = (value: number, dtype: HalfType): Groups<StoredTensor> => ({
      frozen: { x: narrow(float32([value], [1]), dtype) },
    });
    const read = async (args: Groups<StoredTensor>): Promise<unknown> =>
      (await compiled.run(args))["out"]?.["y"]?.data[0];
    expect([await read(of(2, "float16")), await read(of(3, "float16")), await read(of(4, "bfloat16"))]).toEqual([
      4, 9, 16,
    ]);
    expect(compiled.counters.programsBuilt).toBe(2);
  });

  it("says what is wrong with an argument, and names it where its value is read", async () => {
    const compiled = engine.compile(({ frozen = {} }) => {
      (frozen["x"] as tf.Tensor).dataSync();
      return {};
    });
    const x = narrow(float32([1], [1]), "bfloat16");
    await expect(compiled.run({ frozen: { x } })).rejects.toMatchObject({
      code: "READ_DURING_TRACE",
      message: expect.stringContaining("the argument frozen/x") as string,
    });
    const wrong = { ...x, data: new Float32Array(1) } as unknown as StoredTensor;
    await expect(compiled.run({ frozen: { x: wrong } })).rejects.toMatchObject({
      code: "DTYPE_MISMATCH",
      message: expect.stringMatching(
        /type bfloat16 and its values are a Float32Array, expected a Uint16Array/,
      ) as string,
    });
  });
});
