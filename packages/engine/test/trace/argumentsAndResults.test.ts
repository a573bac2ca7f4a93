import type { HostTensor } from "@peftjs/core";
import { float32 } from "@peftjs/core";
import type { Engine, Groups, TensorFunction } from "@peftjs/engine";
import { createEngine } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";

const A = float32([1, 2], [2]);

let engine: Engine;
let outside: tf.Tensor;
let variable: tf.Variable;

beforeAll(async () => {
  await createEngine({ kind: "eager", backend: "cpu" });
  engine = await createEngine({ kind: "onnx", threads: 1 });
  outside = tf.tensor1d([1, 2]);
  variable = tf.variable(outside, true, "weights");
});

describe("what a function returns", () => {
  it.each([
    ["FUNCTION_ASYNC", /promise/, async (a: tf.Tensor) => ({ s: { a } })],
    ["FUNCTION_ASYNC", /promise/, () => Promise.reject(new Error("unheard"))],
    ["RESULT_NOT_TENSOR", /returns undefined/, () => undefined],
    ["RESULT_NOT_TENSOR", /returns a Tensor/, (a: tf.Tensor) => a],
    ["RESULT_NOT_TENSOR", /returns an Array/, (a: tf.Tensor) => [a]],
    ["RESULT_NOT_TENSOR", /group "s" is a Tensor/, (a: tf.Tensor) => ({ s: a })],
    ["RESULT_NOT_TENSOR", /s\/a is undefined/, () => ({ s: { a: undefined } })],
    ["RESULT_NOT_TENSOR", /s\/a is a number.*tf\.scalar/, () => ({ s: { a: 3 } })],
    ["RESULT_NOT_TENSOR", /s\/a is an Object.*nested/, (a: tf.Tensor) => ({ s: { a: { b: a } } })],
    ["RESULT_NOT_TENSOR", /s\/a is a Promise/, (a: tf.Tensor) => ({ s: { a: Promise.resolve(a) } })],
    ["CAPTURED_TENSOR", /s\/a .*outside/, () => ({ s: { a: outside } })],
    ["CAPTURED_TENSOR", /s\/a .*variable "weights"/, () => ({ s: { a: variable } })],
    ["TENSOR_DISPOSED", /s\/a .*disposed/, (a: tf.Tensor) => ({ s: { a: disposed(tf.neg(a)) } })],
  ])("%s: %s", async (code, says, fn) => {
    const compiled = engine.compile(({ s: { a } = {} }) => fn(a as tf.Tensor) as ReturnType<TensorFunction>);
    await expect(compiled.run({ s: { a: A } })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(says) as string,
    });
  });
});

describe("what a function gets", () => {
  const float64 = { dtype: "float64", shape: [2], data: new Float64Array(2) };
  it.each([
    ["ARGUMENT_NOT_TENSOR", /group "s" is undefined/, { s: undefined }],
    ["ARGUMENT_NOT_TENSOR", /s\/a is undefined/, { s: { a: undefined } }],
    ["ARGUMENT_NOT_TENSOR", /s\/a is an Array/, { s: { a: [1, 2] } }],
    ["ARGUMENT_NOT_TENSOR", /s\/a is a tensor of tfjs/, { s: { a: tf.Tensor.prototype } }],
    ["DTYPE_UNSUPPORTED", /s\/a has the type float64/, { s: { a: float64 } }],
    ["DTYPE_MISMATCH", /a Float64Array, expected a Float32Array/, { s: { a: { ...float64, dtype: "float32" } } }],
    ["SHAPE_MISMATCH", /s\/a of shape \[3\] has 2 values, expected 3/, { s: { a: { ...A, shape: [3] } } }],
  ])("%s: %s", async (code, says, args) => {
    const compiled = engine.compile(({ s = {} }) => ({ s }));
    await expect(compiled.run(args as unknown as Groups<HostTensor>)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(says) as string,
    });
  });

  it("is checked in later runs, too", async () => {
    const compiled = engine.compile(({ s: { a } = {} }) => ({ s: { a: tf.neg(a as tf.Tensor) } }));
    await compiled.run({ s: { a: A } });
    await expect(compiled.run({ s: { a: { ...A, data: new Float32Array(3) } } })).rejects.toMatchObject({
      code: "SHAPE_MISMATCH",
    });
  });
});

function disposed(tensor: tf.Tensor): tf.Tensor {
  tensor.dispose();
  return tensor;
}
