import type { HostTensor } from "@peftjs/core";
import { float32, int32 } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import { createEngine } from "@peftjs/engine";
import { eagerEngine, installMatchers, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import type { Inputs, Op } from "./harness.ts";
import { run, values } from "./harness.ts";

installMatchers();

const bool = (data: number[], shape = [data.length]): HostTensor => ({
  dtype: "bool",
  shape,
  data: Uint8Array.from(data),
});
const int = (...data: number[]): HostTensor => int32(data, [data.length]);
const [x4, x5] = [values([1, 4, 4, 2]), values([1, 4, 4, 4, 2])];
const [f4, f5] = [values([2, 2, 2, 3], -1, 1, 2), values([2, 2, 2, 2, 3], -1, 1, 2)];
const pair = { a: values([3, 5]), b: values([4, 5], -2, 2, 2), bias: values([4], -1, 1, 3) };

/** The gradient of Σ op². */
const gradient =
  (op: (x: tf.Tensor) => tf.Tensor): Op =>
  ({ x }) =>
    tf.grad((value) => tf.sum(tf.square(op(value))))(x as tf.Tensor);
const image = (x: tf.Tensor | undefined): tf.Tensor4D => x as tf.Tensor4D;
const volume = (x: tf.Tensor | undefined): tf.Tensor5D => x as tf.Tensor5D;
const filter4 = (): tf.Tensor4D => tf.tensor(f4.data, [2, 2, 2, 3]);
const filter5 = (): tf.Tensor5D => tf.tensor(f5.data, [2, 2, 2, 2, 3]);

/** Calls that the backends' own kernels refuse or answer wrongly; without the stand-in each of these fails on one of them. */
const CASES: Readonly<Record<string, readonly [Inputs, Op]>> = {
  "sign of small numbers": [{ x: float32([1e-30, -1e-12, 0, 2], [4]) }, ({ x }) => tf.sign(x!)],
  "cast to bool": [{ x: float32([0, 2, 0.25, -3, 256], [5]) }, ({ x }) => tf.cast(tf.cast(x!, "bool"), "float32")],
  "floorDiv of floats": [{ x: float32([7, -7], [2]) }, ({ x }) => tf.floorDiv(x!, tf.scalar(2))],
  "isNaN of whole numbers": [{ x: int(0, -1) }, ({ x }) => tf.isNaN(x!)],
  "isFinite of whole numbers": [{ x: int(0, -1) }, ({ x }) => tf.isFinite(x!)],
  "clip of whole numbers": [{ x: int(0, -5, 7) }, ({ x }) => tf.clipByValue(x!, -1, 2)],
  "round of whole numbers": [{ x: int(7, -1) }, ({ x }) => tf.round(x!)],
  "leakyRelu of whole numbers": [{ x: int(7, -1) }, ({ x }) => tf.leakyRelu(x!)],
  "product of whole numbers": [{ x: int32([1, 2, 3, 4], [2, 2]) }, ({ x }) => tf.matMul(x!, x!)],
  "reversed bools": [{ x: bool([1, 0, 0]) }, ({ x }) => tf.reverse(x!)],
  "selected bools": [
    { c: bool([1, 0, 1, 0]), x: bool([1, 1, 0, 0]), y: bool([0, 1, 1, 1]) },
    ({ c, x, y }) => tf.where(c!, x!, y!),
  ],
  "slopes per row": [{ x: values([2, 3]), a: float32([0.5, -1], [2, 1]) }, ({ x, a }) => tf.prelu(x!, a!)],
  "slopes that broadcast": [{ x: values([1, 3]), a: float32([0.5, -1], [2, 1]) }, ({ x, a }) => tf.prelu(x!, a!)],
  "gather with batches": [
    { x: values([3, 2, 2]), i: int32([1, 0, 1], [3, 1]) },
    ({ x, i }) => tf.gather(x!, i as tf.Tensor2D, 1, 1),
  ],
  "oneHot beyond the depth": [{ i: int(0, 2 ** 26, -1) }, ({ i }) => tf.oneHot(i!, 3)],
  "sum of nothing": [{ x: float32([], [1, 0, 4, 3]) }, ({ x }) => tf.sum(x!, 2)],
  "bias after transposition": [
    pair,
    ({ a, b, bias }) => tf.fused.matMul({ a: a!, b: b!, transposeB: true, bias: bias! }),
  ],
  "convolution padded by a number": [{ x: x4 }, ({ x }) => tf.conv2d(image(x), filter4(), 2, 1)],
  "convolution with sizes rounded up": [{ x: x4 }, ({ x }) => tf.conv2d(image(x), filter4(), 2, 1, "NHWC", 1, "ceil")],
  "gradient of a convolution": [{ x: x4 }, gradient((x) => tf.conv2d(image(x), filter4(), 3, "valid"))],
  "gradient of a convolution of volumes": [{ x: x5 }, gradient((x) => tf.conv3d(volume(x), filter5(), 1, "same"))],
  "maximum over volumes": [{ x: x5 }, ({ x }) => tf.maxPool3d(volume(x), 2, 2, "same")],
  "gradient of a window of one": [{ x: values([1, 1, 1, 2]) }, gradient((x) => tf.maxPool(image(x), 1, 1, "same"))],
  "gradient of dilation": [
    { x: x4 },
    gradient((x) => tf.dilation2d(image(x), tf.tensor(values([2, 2, 2]).data, [2, 2, 2]) as tf.Tensor3D, 1, "same")),
  ],
  "places of the greatest": [{ x: x4 }, ({ x }) => tf.maxPoolWithArgmax(image(x), 2, 2, "same").indexes!],
};

const backends = (["wasm", "tensorflow"] as const).filter((name) => name === "wasm" || name === eagerEngine.backend);

describe.each(backends)("the eager engine on %s agrees with cpu on", (backend) => {
  let [reference, engine]: Engine[] = [];
  beforeAll(async () => {
    reference = await createEngine({ kind: "eager", backend: "cpu" });
    engine = await createEngine({ kind: "eager", backend });
  });

  it.each(Object.keys(CASES))("%s", async (name) => {
    const [inputs, op] = CASES[name] as readonly [Inputs, Op];
    const expected = await run(reference as Engine, op, inputs);
    const held = alive();
    const actual = await run(engine as Engine, op, inputs);
    expect(alive()).toEqual(held);
    expect({ ...actual, data: [] }).toEqual({ ...expected, data: [] });
    expect(actual.data).toBeAllClose(expected.data, tol.float32);
  });
});

it.each(["cpu", ...backends])("on %s what is updated in places stays as it is", async (backend) => {
  const engine = await createEngine({ kind: "eager", backend: backend as "cpu" });
  const op: Op = ({ x, i, u }) => {
    const updated = tf.tensorScatterUpdate(x!, i as tf.Tensor2D, u!);
    return tf.stack([x!, updated]);
  };
  const inputs = { x: float32([1, 2, 3, 4], [4]), i: int32([2, 0], [2, 1]), u: float32([-1, -2], [2]) };
  const held = alive();
  expect([...(await run(engine, op, inputs)).data]).toEqual([1, 2, 3, 4, -2, 2, -1, 4]);
  expect(alive()).toEqual(held);
  expect([...inputs.x.data]).toEqual([1, 2, 3, 4]);
});

function alive(): number[] {
  return [tf.memory().numTensors, (tf.findBackend("cpu") as tf.KernelBackend).numDataIds()];
}
