import type { DType, HostTensor } from "@peftjs/core";
import { sizeOf } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import type { Tolerance } from "@peftjs/testkit";
import { tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { trace } from "../../src/onnx/trace/trace.ts";
import type { Inputs, Op } from "../harness.ts";
import { compareGradients, cpu, onnx } from "../harness.ts";
import type { Domain } from "./arbitrary.ts";
import { anything } from "./arbitrary.ts";
import { isException } from "./exceptions.ts";

/** One call: tensors, and what is done with them. */
export interface Sample {
  readonly inputs: Inputs;
  readonly op: (inputs: Record<string, tf.Tensor>) => tf.Tensor | readonly tf.Tensor[];
  /** What the exceptions ask for. */
  readonly facts?: Readonly<Record<string, unknown>>;
}

export interface Kind {
  readonly dtype: DType;
  readonly domain: Domain;
}

/** A kernel with calls of it. */
export interface KernelCase {
  readonly kernel: string;
  /** Distinguishes several cases of a kernel. */
  readonly label?: string;
  /** Types the operation takes; float32 alone if not given. */
  readonly dtypes?: readonly DType[];
  readonly sample: (kind: Kind) => fc.Arbitrary<Sample>;
  /** The range in which the gradient is compared; none for operations that have none. */
  readonly gradient?: { readonly from: number; readonly to: number };
  readonly tolerance?: Tolerance;
}

/** The same runs every time: whoever meets a failure meets it again. */
const SEED = Number(process.env["PEFTJS_TEST_SEED"] ?? 1);
const RUNS = Number(process.env["PEFTJS_TEST_RUNS"] ?? 12);

/** Every case against the tfjs cpu backend: values for each type, gradients where there are some. */
export function describeKernels(title: string, cases: readonly KernelCase[]): void {
  describe(title, () => {
    for (const kernelCase of cases) {
      const { kernel, label, gradient, dtypes = ["float32" as const] } = kernelCase;
      const name = label === undefined ? kernel : `${kernel} (${label})`;
      for (const dtype of dtypes) {
        it(`${name} of ${dtype}`, async () => {
          await check(kernelCase.sample({ dtype, domain: anything }), RUNS, (sample) =>
            compareValues(kernelCase, sample),
          );
        });
      }
      if (gradient === undefined) continue;
      it(`gradient of ${name}`, async () => {
        const smooth = kernelCase.sample({ dtype: "float32", domain: { kind: "smooth", ...gradient } });
        await check(smooth, 5, async ({ inputs, op, facts = {} }) => {
          fc.pre(!isException({ kernel, inputs, facts, gradient: true }));
          fc.pre(Object.values(inputs).every((input) => sizeOf(input.shape) > 0));
          await compareGradients(firstOf(op), inputs);
        });
      });
    }
  });
}

async function check<T>(values: fc.Arbitrary<T>, numRuns: number, test: (value: T) => Promise<void>): Promise<void> {
  await fc.assert(fc.asyncProperty(values, test), { numRuns, seed: SEED });
}

function firstOf(op: Sample["op"]): Op {
  return (named) => listOf(op(named))[0] as tf.Tensor;
}

function outputsOf(result: tf.Tensor | readonly tf.Tensor[]): Record<string, tf.Tensor> {
  return Object.fromEntries(listOf(result).map((tensor, i) => [i, tensor]));
}

function listOf(result: tf.Tensor | readonly tf.Tensor[]): readonly tf.Tensor[] {
  return result instanceof tf.Tensor ? [result] : result;
}

async function compareValues(
  { kernel, tolerance = tol.float32 }: Pick<KernelCase, "kernel" | "tolerance">,
  { inputs, op, facts = {} }: Sample,
): Promise<void> {
  fc.pre(!isException({ kernel, inputs, facts, gradient: false }));
  // A case that does not reach its kernel would prove nothing.
  const called = trace(({ inputs: named = {} }) => ({ out: outputsOf(op(named)) }), { inputs }).nodes;
  expect(called.map((node) => node.kernel)).toContain(kernel);
  const [expected, actual] = [await results(cpu, op, inputs), await results(onnx, op, inputs)];
  expect(actual.length).toBe(expected.length);
  actual.forEach((result, i) => {
    expect(result.shape).toEqual(expected[i]?.shape);
    expect(result.dtype).toBe(expected[i]?.dtype);
    expect(result.data).toBeAllClose(expected[i]?.data as HostTensor["data"], tolerance);
  });
}

async function results(engine: Engine, op: Sample["op"], inputs: Inputs): Promise<readonly HostTensor[]> {
  const compiled = engine.compile(({ inputs: named = {} }) => ({ out: outputsOf(op(named)) }));
  const { out = {} } = await compiled.run({ inputs });
  await compiled.dispose();
  return Object.values(out);
}
