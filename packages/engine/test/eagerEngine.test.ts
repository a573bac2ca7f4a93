import { float32, int32 } from "@peftjs/core";
import type { Engine, Groups, TensorFunction } from "@peftjs/engine";
import { createEngine } from "@peftjs/engine";
import { eagerEngine, installMatchers, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";

installMatchers();

const backends = [...new Set([eagerEngine.backend, "cpu", "wasm"] as const)];

/** Rows of a table by number, through a layer norm and a softmax, and the gradients of all of it: kernels of every kind. */
const step: TensorFunction = ({ constant: { table } = {}, state: { w } = {}, batch: { rows, x } = {} }) => {
  const loss = (table: tf.Tensor, w: tf.Tensor): tf.Scalar => {
    // The gradient of `gather` is UnsortedSegmentSum and that of a convolution its two backward kernels.
    const picked = tf.add(tf.gather(table, rows as tf.Tensor1D), x as tf.Tensor);
    const { mean, variance } = tf.moments(picked, -1, true);
    const normal = tf.div(tf.sub(picked, mean), tf.sqrt(tf.add(variance, 1e-5)));
    const image = tf.reshape(normal, [1, 2, 4, 1]) as tf.Tensor4D;
    const convolved = tf.conv2d(image, w as tf.Tensor4D, 1, "same");
    return tf.neg(tf.mean(tf.logSoftmax(tf.reshape(convolved, [2, 4])))) as tf.Scalar;
  };
  const { value, grads } = tf.valueAndGrads(loss)([table as tf.Tensor, w as tf.Tensor]);
  return { out: { loss: value }, grads: { table: grads[0] as tf.Tensor, w: grads[1] as tf.Tensor } };
};

const args = {
  constant: { table: float32([0.5, -1, 2, 0, 1, 1.5, -0.5, 0.25, -2, 0.75, 1, 3], [3, 4]) },
  state: { w: float32([0.5, -0.25, 1, 0.75], [2, 2, 1, 1]) },
  batch: { rows: int32([2, 2], [2]), x: float32([0, 1, 0, -1, 2, 0, 1, 0], [2, 4]) },
};

async function once(engine: Engine): Promise<Groups<{ readonly data: ArrayLike<number> }>> {
  const compiled = engine.compile(step);
  const results = await compiled.run(args);
  await compiled.dispose();
  return results;
}

describe.each(backends)("the eager engine on %s", (backend) => {
  let engine: Engine;
  beforeAll(async () => void (engine = await createEngine({ kind: "eager", backend })));

  it("computes what the compiled engine computes, kernels that the backend lacks included", async () => {
    const [expected, actual] = [await once(await createEngine({ threads: 1 })), await once(engine)];
    for (const [group, name] of [
      ["out", "loss"],
      ["grads", "table"],
      ["grads", "w"],
    ] as const) {
      expect(actual[group]?.[name]?.data).toBeAllClose(expected[group]?.[name]?.data as Float32Array, tol.float32);
    }
  });

  it("keeps nothing from step to step, and nothing at all once disposed of", async () => {
    await once(engine);
    const before = alive();
    const compiled = engine.compile(step, { constant: ["constant"] });
    await compiled.run(args);
    const during = alive();
    // The table, which is named constant, stays.
    expect(during.tensors).toBe(before.tensors + 1);
    for (let i = 0; i < 10; i++) await compiled.run(args);
    expect(alive()).toEqual(during);
    // Another function that reads the table shares it, for as long as one of the two is there.
    const other = engine.compile(step, { constant: ["constant"] });
    await other.run(args);
    await compiled.dispose();
    expect(alive()).toEqual(during);
    await other.run(args);
    await other.dispose();
    expect(alive()).toEqual(before);
  });

  it("keeps nothing of a step that fails", async () => {
    await once(engine);
    const before = alive();
    const failing = engine.compile((args) => {
      step(args);
      throw new Error("in the middle");
    });
    await expect(failing.run(args)).rejects.toThrow("in the middle");
    expect(alive()).toEqual(before);
  });

  /** Tensors of tfjs, and what the backend and the stand-in for its missing kernels hold. */
  function alive(): { tensors: number; held: number; heldByCpu: number } {
    const heldBy = (name: string): number => (tf.findBackend(name) as tf.KernelBackend).numDataIds();
    return { tensors: tf.memory().numTensors, held: heldBy(backend), heldByCpu: heldBy("cpu") };
  }
});
