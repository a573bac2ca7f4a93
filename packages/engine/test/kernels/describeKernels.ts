import type { DType, HostTensor } from "@peftjs/core";
import { sizeOf } from "@peftjs/core";
import type { Engine, TensorFunction } from "@peftjs/engine";
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
const RUNS = Number(process.env["PEFTJS_TEST_RUNS"] ?? 16);

/** Every case against the tfjs cpu backend: values for each type, gradients where there are some. */
export function describeKernels(title: string, cases: readonly KernelCase[]): void {
  describe(title, () => {
    for (const kernelCase of cases) {
      const { kernel, label, gradient, dtypes = ["float32" as const], tolerance = tol.float32 } = kernelCase;
      const name = label === undefined ? kernel : `${kernel} (${label})`;
      for (const dtype of dtypes) {
        it(`${name} of ${dtype}`, async () => {
          const samples = kernelCase
            .sample({ dtype, domain: anything })
            .filter(({ inputs, facts = {} }) => !isException({ kernel, inputs, facts }));
          await check(samples, async (drawn) => {
            drawn.forEach((sample) => expectCall(kernel, sample));
            await compareValues(drawn, tolerance);
          });
        });
      }
      if (gradient === undefined) continue;
      it(`gradient of ${name}`, async () => {
        const samples = kernelCase
          .sample({ dtype: "float32", domain: { kind: "smooth", ...gradient } })
          .filter(({ inputs }) => Object.values(inputs).every((input) => sizeOf(input.shape) > 0))
          .filter(({ inputs, facts = {} }) => !isException({ kernel, inputs, facts }));
        await check(samples, (drawn) => compareGradients(inOne(drawn), inputsOf(drawn)));
      });
    }
  });
}

/** All samples are part of one program, which is fast to build. If that fails, they are tried one by one for the simplest that does. */
async function check(
  samples: fc.Arbitrary<Sample>,
  compare: (drawn: readonly Sample[]) => Promise<void>,
): Promise<void> {
  try {
    await compare(fc.sample(samples, { numRuns: RUNS, seed: SEED }));
  } catch (error) {
    const alone = fc.asyncProperty(samples, (sample) => compare([sample]));
    await fc.assert(alone, { numRuns: 4 * RUNS, seed: SEED });
    throw error;
  }
}

/** A case that does not reach its kernel would prove nothing. */
function expectCall(kernel: string, sample: Sample): void {
  const { nodes } = trace(together([sample]), { inputs: inputsOf([sample]) });
  expect(nodes.map((node) => node.kernel)).toContain(kernel);
}

async function compareValues(samples: readonly Sample[], tolerance: Tolerance): Promise<void> {
  const [expected, actual] = [await results(cpu, samples), await results(onnx, samples)];
  expect(Object.keys(actual)).toEqual(Object.keys(expected));
  for (const [name, result] of Object.entries(actual)) {
    const reference = expected[name] as HostTensor;
    expect(result.shape).toEqual(reference.shape);
    expect(result.dtype).toBe(reference.dtype);
    expect(result.data).toBeAllClose(reference.data, tolerance);
  }
}

async function results(engine: Engine, samples: readonly Sample[]): Promise<Readonly<Record<string, HostTensor>>> {
  const compiled = engine.compile(together(samples));
  const { out = {} } = await compiled.run({ inputs: inputsOf(samples) });
  await compiled.dispose();
  return out;
}

const key = (i: number, name: string | number): string => `${i}.${name}`;

function inputsOf(samples: readonly Sample[]): Inputs {
  return Object.fromEntries(
    samples.flatMap(({ inputs }, i) => Object.entries(inputs).map(([name, input]) => [key(i, name), input])),
  );
}

/** Every result of every sample. */
function outputsOf(samples: readonly Sample[], named: Readonly<Record<string, tf.Tensor>>): [string, tf.Tensor][] {
  return samples.flatMap(({ inputs, op }, i) => {
    const own = Object.keys(inputs).map((name) => [name, named[key(i, name)] as tf.Tensor]);
    const result = op(Object.fromEntries(own) as Record<string, tf.Tensor>);
    const list = result instanceof tf.Tensor ? [result] : result;
    return list.map((tensor, j): [string, tf.Tensor] => [key(i, j), tensor]);
  });
}

function together(samples: readonly Sample[]): TensorFunction {
  return ({ inputs: named = {} }) => ({ out: Object.fromEntries(outputsOf(samples, named)) });
}

/** All results as one row. What is not a number of float32 has a gradient, too: zero. */
function inOne(samples: readonly Sample[]): Op {
  return (named) => {
    const results = outputsOf(samples, named);
    return tf.concat(results.map(([, tensor]) => tf.cast(tf.reshape(tensor, [-1]), "float32")));
  };
}
