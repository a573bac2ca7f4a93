import type { HostTensor } from "@peftjs/core";
import { float32, gelu, int32, PeftError } from "@peftjs/core";
import type { Engine, Groups } from "@peftjs/engine";
import { createEngine, registerLowering } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

type Op = (a: tf.Tensor) => unknown;

const A = float32([1, 2], [2]);

let engine: Engine;
let outside: tf.Tensor;
let variable: tf.Variable;
let marked: string;
let tensors: number;

/** Remembers the line that it is called on. */
function mark(): void {
  marked = /errors\.test\.ts(?:\?\S*)?:\d+/.exec((new Error().stack ?? "").split("\n")[2] ?? "")?.[0] ?? "";
}

async function failureOf(op: Op, args: Groups<HostTensor> = { s: { a: A } }): Promise<PeftError> {
  const compiled = engine.compile(({ s: { a } = {} }) => ({ s: { a: op(a as tf.Tensor) as tf.Tensor } }));
  const failure = await compiled.run(args).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(PeftError);
  return failure as PeftError;
}

beforeAll(async () => {
  await createEngine({ kind: "eager", backend: "cpu" });
  engine = await createEngine({ kind: "onnx", threads: 1 });
});

beforeEach(() => {
  outside = tf.tensor1d([1, 2]);
  variable = tf.variable(outside, true, "weights");
  tensors = tf.memory().numTensors;
});

/** Whatever failed: no tensor is left, the backend is the former one, gradients work, and so does the engine. */
afterEach(async () => {
  expect(tf.memory().numTensors).toBe(tensors);
  expect(tf.getBackend()).toBe("cpu");
  const { state } = tf.engine();
  expect([state.gradientDepth, state.kernelDepth, state.scopeStack.length]).toEqual([0, 0, 0]);
  tf.tidy(() => {
    const gradient = tf.grad((x) => tf.sum(tf.square(x)))(tf.tensor1d([3]));
    expect(Array.from(gradient.dataSync())).toEqual([6]);
  });
  const { s } = await engine
    .compile(({ s: { a } = {} }) => ({ s: { a: tf.neg(a as tf.Tensor) } }))
    .run({ s: { a: float32([3], [1]) } });
  expect(Array.from(s?.["a"]?.data ?? [])).toEqual([-3]);
  expect(tf.memory().numTensors).toBe(tensors);
  variable.dispose();
  outside.dispose();
});

/** Code, what the message says beside the place, and the operation. */
const CASES: readonly (readonly [code: string, says: RegExp, op: Op])[] = [
  [
    "KERNEL_MISSING",
    /resizeBilinear \(kernel ResizeBilinear\).*Image kernels.*eager/,
    (a) => (mark(), tf.image.resizeBilinear(tf.reshape(a, [1, 2, 1]) as tf.Tensor3D, [4, 2])),
  ],
  ["KERNEL_MISSING", /runKernel \(kernel Mine\).*registerLowering/, (a) => (mark(), runKernel("Mine", a))],
  ["KERNEL_MISSING", /registerLowering/, (a) => (mark(), gradientOf((x) => runKernel("Mine", x), a))],
  ["DTYPE_UNSUPPORTED", /tf\.complex \(kernel Complex\).*two float32/, (a) => (mark(), tf.complex(a, a))],
  ["DTYPE_UNSUPPORTED", /tf\.cast.*complex64/, (a) => (mark(), tf.cast(a, "complex64"))],
  ["DTYPE_UNSUPPORTED", /tf\.tensor1d.*string/, () => (mark(), tf.tensor1d(["x"]))],
  [
    "DTYPE_MISMATCH",
    /tf\.concat.*0: float32\[2\], 1: int32\[2\]/,
    (a) => (mark(), tf.concat([a, tf.cast(a, "int32")])),
  ],
  ["DTYPE_MISMATCH", /tf\.stack/, (a) => (mark(), tf.stack([a, tf.cast(a, "int32")]))],
  ["DTYPE_MISMATCH", /tf\.einsum/, (a) => (mark(), tf.einsum("i,i->", a, tf.cast(a, "int32")))],
  ["SHAPE_MISMATCH", /tf\.add.*\[2\] and \[3\]/, (a) => (mark(), tf.add(a, tf.zeros([3])))],
  [
    "READ_DURING_TRACE",
    /Tensor\.dataSync.*float32 tensor of shape \[2\] \(the argument s\/a\)/,
    (a) => (mark(), a.dataSync()),
  ],
  ["READ_DURING_TRACE", /Tensor\.arraySync.*the result of kernel Neg/, (a) => (mark(), tf.neg(a).arraySync())],
  ["READ_DURING_TRACE", /Tensor\.print/, (a) => (mark(), a.print())],
  ["READ_DURING_TRACE", /Tensor\.toString.*compared/, (a) => (mark(), (a as unknown as number) > 1)],
  ["READ_DURING_TRACE", /Tensor\.data at/, (a) => (mark(), void a.data().then(() => expect.unreachable()), a)],
  ["READ_DURING_TRACE", /Tensor\.array at/, async (a) => (mark(), await a.array())],
  ["SHAPE_DEPENDS_ON_DATA", /tf\.unique \(kernel Unique\).*fixed shapes/, (a) => (mark(), tf.unique(a).values)],
  [
    "SHAPE_DEPENDS_ON_DATA",
    /tf\.whereAsync.*bool tensor of shape \[2\]/,
    (a) => (mark(), tf.whereAsync(tf.greater(a, 0))),
  ],
  ["SHAPE_DEPENDS_ON_DATA", /tf\.booleanMaskAsync/, (a) => (mark(), tf.booleanMaskAsync(a, tf.greater(a, 0)))],
  ["SHAPE_DEPENDS_ON_DATA", /tf\.setdiff1dAsync/, (a) => (mark(), tf.setdiff1dAsync(a, tf.neg(a)))],
  [
    "SHAPE_DEPENDS_ON_DATA",
    /nonMaxSuppression \(kernel NonMaxSuppressionV3\)/,
    (a) => (mark(), tf.image.nonMaxSuppression(tf.zeros([2, 4]), a as tf.Tensor1D, 1)),
  ],
  [
    "SHAPE_DEPENDS_ON_DATA",
    /nonMaxSuppressionAsync/,
    (a) => (mark(), tf.image.nonMaxSuppressionAsync(tf.zeros([2, 4]), a as tf.Tensor1D, 1)),
  ],
  [
    "CAPTURED_TENSOR",
    /tf\.mul \(kernel Multiply\).*a tensor of shape \[2\].*as an argument/,
    (a) => (mark(), tf.mul(a, outside)),
  ],
  ["CAPTURED_TENSOR", /tf\.mul.*the variable "weights" of shape \[2\]/, (a) => (mark(), tf.mul(a, variable))],
  ["CAPTURED_TENSOR", /gelu \(kernel PeftGelu\)/, () => (mark(), gelu(outside))],
  ["CAPTURED_TENSOR", /tf\.mul/, (a) => gradientOf((x) => (mark(), tf.mul(gelu(x), variable)), a)],
  ["TENSOR_DISPOSED", /tf\.mul.*of shape \[2\]/, (a) => (mark(), tf.mul(a, disposed(tf.neg(a))))],
  ["TENSOR_DISPOSED", /tf\.concat/, (a) => (mark(), tf.concat([a, tidied(() => tf.neg(a))]))],
  ["RANDOM_DURING_TRACE", /tf\.randomNormal.*every run would repeat/, (a) => (mark(), tf.add(a, tf.randomNormal([2])))],
  ["RANDOM_DURING_TRACE", /tf\.dropout/, (a) => (mark(), tf.dropout(a, 0.5))],
];

function runKernel(name: string, x: tf.Tensor): tf.Tensor {
  return (mark(), tf.engine().runKernel(name, { x }));
}

function gradientOf(f: (x: tf.Tensor) => tf.Tensor, a: tf.Tensor): tf.Tensor {
  return tf.tidy(() => tf.grads((x) => tf.sum(f(tf.exp(x as tf.Tensor))))([a])[0] as tf.Tensor);
}

function disposed(tensor: tf.Tensor): tf.Tensor {
  tensor.dispose();
  return tensor;
}

function tidied(make: () => tf.Tensor): tf.Tensor {
  let escaped: tf.Tensor | undefined;
  tf.tidy(() => void (escaped = make()));
  return escaped as tf.Tensor;
}

describe("an error of a trace names operation, place and remedy", () => {
  it.each(CASES)("%s %s", async (code, says, op) => {
    const { code: actual, message } = await failureOf(op);
    expect([actual, message]).toEqual([code, expect.stringMatching(says)]);
    expect(message).toContain(`/test/trace/${marked}:`);
  });

  it("of the backward pass", async () => {
    const noGradient = (x: tf.Tensor): tf.Tensor =>
      tf.customGrad((y) => ({ value: tf.neg(y as tf.Tensor), gradFunc: (dy) => runKernel("Mine", dy as tf.Tensor) }))(
        x,
      );
    const { code, message } = await failureOf((a) => gradientOf(noGradient, a));
    expect(code).toBe("KERNEL_MISSING");
    expect(message).toContain(`/test/trace/${marked}:`);
  });
});

describe("tensors that outlive a call", () => {
  it("are refused in the next one", async () => {
    let cached: tf.Tensor | undefined;
    for (const make of [(a: tf.Tensor) => tf.keep(tf.neg(a)), tf.neg]) {
      cached = undefined;
      const compiled = engine.compile(({ s: { a } = {} }) => {
        cached ??= make(a as tf.Tensor);
        return { s: { a: tf.add(tf.sum(a as tf.Tensor), tf.sum(cached)) } };
      });
      await compiled.run({ s: { a: A } });
      await expect(compiled.run({ s: { a: float32([1], [1]) } })).rejects.toMatchObject({
        code: "CAPTURED_TENSOR",
        message: expect.stringMatching(/earlier call/) as string,
      });
    }
  });

  it("are not counted: kept ones, and variables, which can be made again", async () => {
    const compiled = engine.compile(({ s: { a } = {} }) => {
      const local = tf.variable(tf.keep(tf.neg(a as tf.Tensor)), true, "local");
      local.assign(tf.add(local, 1));
      return { s: { a: tf.mul(local, 2) } };
    });
    const { s } = await compiled.run({ s: { a: A } });
    expect(Array.from(s?.["a"]?.data ?? [])).toEqual([0, -2]);
    await compiled.run({ s: { a: float32([1], [1]) } });
  });

  it("a variable that is assigned to is reported", async () => {
    const other = tf.variable(outside, true, "assigned");
    const { code, message } = await failureOf((a) => (other.assign(a), a));
    expect([code, message]).toEqual(["CAPTURED_TENSOR", expect.stringContaining('the variable "assigned"')]);
  });
});

it("a constant can be read: its value is known", async () => {
  const compiled = engine.compile(({ s: { a } = {} }) => {
    const [two] = tf.tensor1d([2, 2]).dataSync();
    const [three, four] = tf.tensor1d([3, 4], "int32").arraySync();
    return { s: { a: tf.mul(a as tf.Tensor, (two as number) + (three as number) * (four as number)) } };
  });
  const { s } = await compiled.run({ s: { a: A } });
  expect(Array.from(s?.["a"]?.data ?? [])).toEqual([14, 28]);
});

it("a trace inside tf.grads and tf.tidy leaves both as they were", async () => {
  const x = tf.tensor1d([3]);
  const compiled = engine.compile(({ s: { a } = {} }) => ({ s: { a: tf.square(a as tf.Tensor) } }));
  const runs: Promise<unknown>[] = [];
  tf.tidy(() => {
    const gradient = tf.grad((y) => {
      const squared = tf.square(y);
      runs.push(compiled.run({ s: { a: A } }), compiled.run({ s: { a: float32([1], [1]) } }));
      return tf.sum(squared);
    })(x);
    expect(Array.from(gradient.dataSync())).toEqual([6]);
  });
  await Promise.all(runs);
  x.dispose();
});

it("a compiled function inside another is refused", async () => {
  const inner = engine.compile(({ s: { a } = {} }) => ({ s: { a: tf.neg(a as tf.Tensor) } }));
  let failure: unknown;
  await failureOf((a) => {
    inner.run({ s: { a: A } }).catch((error: unknown) => (failure = error));
    return [a];
  });
  expect(failure).toMatchObject({ code: "TRACE_NESTED" });
});

describe("an error of a lowering", () => {
  const X = { s: { a: int32([1, 2], [2]) } };

  it.each([
    ["PROGRAM_INVALID", /Add.*kernel Mine.*called with x: int32\[2\].*tf\.cast/s, ["scalar"]],
    ["LOWERING_INVALID", /one ONNX value per result.*\(1\), got \[\]/, []],
    ["KERNEL_ATTRIBUTE", /kernel Mine.*Attribute "rate"/, ["attribute"]],
  ])("%s names the call: %s", async (code, says, [kind]) => {
    const remove = registerLowering({
      name: "Mine",
      infer: (call) => [call.input("x")],
      lower: ({ call, args, emit }) => {
        if (kind === "attribute") return [emit.scalar(call.number("rate"))];
        return kind === "scalar" ? [emit.op("Add", [args[0] as string, emit.scalar(0.5)])] : [];
      },
    });
    // The kernel's input is simplified, so that its node is not the recorded one any more.
    const { code: actual, message } = await failureOf((a) => tf.neg(runKernel("Mine", tf.reshape(a, [2]))), X);
    remove();
    expect([actual, message]).toEqual([code, expect.stringMatching(says)]);
    expect(message).toContain(`/test/trace/${marked}:`);
  });

  it("LOWERING_INVALID for a shape that is none", async () => {
    const remove = registerLowering({
      name: "Mine",
      infer: () => [{ shape: [Number.NaN], dtype: "float32" }],
      lower: ({ args }) => args,
    });
    const { code, message } = await failureOf((a) => runKernel("Mine", a));
    remove();
    expect([code, message]).toEqual(["LOWERING_INVALID", expect.stringMatching(/infer of kernel Mine.*\[NaN\]/)]);
  });
});

it("an error of a run names the call that failed", async () => {
  const indices = int32([0, 7], [2]);
  const compiled = engine.compile(({ s: { a, i } = {} }) => {
    return { s: { a: (mark(), tf.gather(tf.neg(a as tf.Tensor), i as tf.Tensor1D)) } };
  });
  const failure = (await compiled.run({ s: { a: A, i: indices } }).catch((error: unknown) => error)) as PeftError;
  expect([failure.code, failure.message]).toEqual([
    "RUN_FAILED",
    expect.stringMatching(/bounds.*tf\.gather \(kernel/s),
  ]);
  expect(failure.message).toContain(`/test/trace/${marked}:`);
});
