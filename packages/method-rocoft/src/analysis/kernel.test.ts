import { float32, largestEigenPairs, PeftModel } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import { installMatchers, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { everything, inputs, reluNet } from "../../test/reluNet.ts";
import { compareKernels } from "./compare.ts";
import { diagonalKernel, kernelMatrix, traceKernel } from "./kernel.ts";
import { empiricalKernel } from "./kernelOfModel.ts";
import type { EmpiricalKernel, KernelOptions } from "./kernelOfModel.ts";
import { startLaziness } from "./laziness.ts";
import { spectrum, subspaceOverlap } from "./spectrum.ts";
import { all, columns, rows } from "./subsets.ts";

installMatchers();

/** Of whole numbers, whose products have no rounding. */
const exact = { absolute: 0, relative: 0 };
/** All the digits that the example is printed with. */
const printed = { absolute: 5.1e-7, relative: 0 };

const FULL = [
  [13, -5, 14, -4, 5, -1],
  [-5, 33, -4, 30, -1, 5],
  [14, -4, 28, -5, 13, -2],
  [-4, 30, -5, 43, -2, 11],
  [5, -1, 13, -2, 7, -1],
  [-1, 5, -2, 11, -1, 6],
];

const kernelOf = (options: Partial<KernelOptions> = {}, model = new PeftModel(reluNet())): Promise<EmpiricalKernel> =>
  empiricalKernel(model, { examples: [inputs], subset: all, ...options });

describe("the worked example", () => {
  let full: EmpiricalKernel;
  beforeAll(async () => {
    full = await kernelOf();
  });

  it("full kernel, its outputs and its report", () => {
    expect(full.shape).toEqual([3, 2, 3, 2]);
    expect(full.data).toBeAllClose(FULL.flat(), exact);
    expect(full.values.data).toBeAllClose([2, 2, 5, -2, 3, -2], exact);
    expect(full.subset).toEqual({
      size: 12,
      parameters: [
        { name: "first.weight", size: 6, of: 6 },
        { name: "second.weight", size: 6, of: 6 },
      ],
    });
    expect(Math.hypot(...full.data)).toBeCloseTo(83.868945, 6);
  });

  it("spectrum", () => {
    const { values, normalised, cumulative, effectiveRank } = spectrum(full);
    expect(values).toBeAllClose([73.268692, 39.182644, 9.975719, 5.175287, 1.988196, 0.409462], printed);
    expect(normalised[0]).toBeCloseTo(73.268692 / 130, 8);
    expect(cumulative[1]).toBeCloseTo((73.268692 + 39.182644) / 130, 8);
    expect(cumulative[5]).toBeCloseTo(1, 12);
    const entropy = normalised.reduce((sum, p) => sum - p * Math.log(p), 0);
    expect(effectiveRank).toBeCloseTo(Math.exp(entropy), 12);
    expect(subspaceOverlap(full, full, 3)).toBeCloseTo(1, 12);
  });

  it.each(["out_in", "in_out"] as const)("row 0 and column 0, with the first weight stored as %s", async (layout) => {
    const row = await kernelOf({ subset: rows(1) }, new PeftModel(reluNet(layout)));
    const first = [8, 10, 4, 10, 23, 11, 4, 11, 6];
    const expected = Array.from({ length: 36 }, (_, at) => {
      const [i, j] = [Math.floor(at / 6), at % 6];
      return i % 2 === 0 && j % 2 === 0 ? first[(i / 2) * 3 + j / 2]! : 0;
    });
    expect(row.data).toBeAllClose(expected, exact);
    expect(row.subset.size).toBe(2 + 3);
    const column = await kernelOf({ subset: columns(1) }, new PeftModel(reluNet(layout)));
    expect(column.data.subarray(0, 6)).toBeAllClose([1, -1, 2, -2, 1, -1], exact);
    expect(column.subset.size).toBe(3 + 2);
    expect(traceKernel(column).data).toBeAllClose([6, 12, 2, 12, 30, 8, 2, 8, 5], exact);
  });

  it("reductions", () => {
    expect(traceKernel(full).data).toBeAllClose([46, 44, 10, 44, 71, 24, 10, 24, 13], exact);
    expect(diagonalKernel(full)).toBeAllClose(
      [13, 33, 14, 30, 5, 5, 14, 30, 28, 43, 13, 11, 5, 5, 13, 11, 7, 6],
      exact,
    );
  });

  it.each([
    ["rows {0}", rows(1), [0.871711, 1.241437, 0.501183, 0.785529, 1.265639]],
    ["columns {0}", columns(1), [0.681094, 0.439902, 0.924167, 0.932048, 2.56517]],
    ["rows {0, 1}", rows(2), [0.431883, 0.366072, 0.933143, 0.962634, 1.34495]],
    ["columns {0, 1}", columns([1, 0]), [0.084311, 0.064989, 0.998102, 0.998417, 1.061234]],
  ])("comparison of %s", async (_, subset, expected) => {
    const kernel = await kernelOf({ subset });
    const c = compareKernels(kernel, full);
    const figures = [c.relativeDifference, c.traceNormalisedDifference, c.alignment, c.cka, c.bestScale];
    expect(figures).toBeAllClose(expected, printed);
    expect(c.residual).toBeCloseTo(Math.sqrt(1 - c.alignment ** 2), 10);
    const sum = (data: Float64Array): number => data.reduce((total, value) => total + Math.abs(value), 0);
    expect(c.absoluteRatio).toBeCloseTo(sum(kernel.data) / sum(full.data), 12);
  });

  it("rows add up to columns and to the whole; what is left out is positive semi-definite", async () => {
    const sums = [rows, columns].map(async (slices) => {
      const sum = new Float64Array(36);
      for (const index of [0, 1, 2]) {
        const { data } = await kernelOf({ subset: slices([index]) });
        data.forEach((value, at) => (sum[at]! += value));
        const rest = { ...full, data: full.data.map((value, at) => value - data[at]!) };
        expect(largestEigenPairs(kernelMatrix(rest), 6).values[5]).toBeGreaterThan(-1e-12);
      }
      return sum;
    });
    for (const sum of await Promise.all(sums)) expect(sum).toBeAllClose(full.data, exact);
  });

  it("formulas", async () => {
    const sign = await kernelOf({ formula: "signgd" });
    expect(sign.data.subarray(0, 6)).toBeAllClose([4, -2, 4, -2, 2, -1], exact);
    const asymmetric = await kernelOf({ formula: "asymmetric_signgd" });
    expect(asymmetric.data.subarray(0, 6)).toBeAllClose([7, -3, 8, -3, 3, -1], exact);
    expect(() => spectrum(asymmetric)).toThrow(expect.objectContaining({ code: "KERNEL_ASYMMETRIC" }));
    const blocks = await kernelOf({ formula: "asymmetric_signgd", exampleBlock: 2, parameterBlock: 4 });
    expect(blocks.data).toBeAllClose(asymmetric.data, exact);
  });

  it("one output, and other examples in the columns", async () => {
    const binary = await kernelOf({ outputs: "binary" });
    expect(binary.shape).toEqual([3, 1, 3, 1]);
    expect(binary.data).toBeAllClose([56, 52, 12, 52, 81, 28, 12, 28, 15], exact);
    expect(binary.values.data).toBeAllClose([0, -7, -5], exact);
    const train = { x: float32([1, 2, 2, 1], [2, 2]) };
    const test = { x: float32([1, 0], [1, 2]) };
    const cross = await kernelOf({ examples: [train], others: [test], outputs: "binary" });
    expect(cross.shape).toEqual([2, 1, 1, 1]);
    expect(cross.data).toBeAllClose([12, 28], exact);
    expect([...cross.values.data, ...cross.otherValues.data]).toEqual([0, -7, -5]);
  });

  it("blocks of any size agree", async () => {
    for (const exampleBlock of [1, 2, 3, 7])
      for (const parameterBlock of [1, 4, 7, 100])
        expect((await kernelOf({ exampleBlock, parameterBlock })).data).toBeAllClose(full.data, exact);
  });
});

/** One step of gradient descent at 0.01 on the first two inputs, which are of the classes 0 and 1. */
async function step(model: PeftModel, learns: (place: number, size: number) => boolean): Promise<number> {
  const batch = { x: tf.tensor2d([1, 2, 2, 1], [2, 2]), labels: tf.tensor1d([0, 1], "int32") };
  const values = model.trainable();
  const names = Object.keys(values);
  const tensors = names.map((name) => tf.tensor(values[name]!.data, [...values[name]!.shape]));
  const { value, grads } = tf.valueAndGrads((...xs: tf.Tensor[]) => {
    const trainable = Object.fromEntries(names.map((name, i) => [name, xs[i]!]));
    return model.loss({ frozen: {}, trainable }, batch, { training: false });
  })(tensors);
  names.forEach((name, i) => {
    const gradient = grads[i]!.dataSync();
    const { data, shape } = values[name]!;
    const moved = (data as Float32Array).map((v, at) => (learns(at, shape[1]!) ? v - 0.01 * gradient[at]! : v));
    model.setTrainable({ [name]: { dtype: "float32", shape, data: moved } });
  });
  return (await value.data())[0]!;
}

describe("laziness", () => {
  it.each([
    ["rows {0}", (place: number, size: number) => place < size, 0.005201],
    ["all weights", () => true, 0.154872],
  ])("one step on %s", async (name, learns, change) => {
    const model = new PeftModel(reluNet());
    await model.attach({ method: everything });
    // A generator, which can be gone through once.
    const laziness = await startLaziness(model, { examples: [inputs].values() });
    expect(laziness.initial.data).toBeAllClose(FULL.flat(), exact);
    expect((await laziness.measure()).change).toBe(0);
    expect(await step(model, learns)).toBeCloseTo(3.847029, 6);
    const after = await laziness.measure();
    expect(after.change).toBeCloseTo(change, 6);
    // The model computes in float32, whose spacing at 5 is 5e-7.
    if (name === "rows {0}")
      expect(after.kernel.values.data).toBeAllClose([1.970046, 2, 4.91023, -2, 2.9551, -2], tol.float32);
  });
});

it("the kernel tells what a step does to the linearised outputs: f − η·K·∂L/∂f", async () => {
  const kernel = await kernelOf({ subset: rows(1) });
  const f = kernel.values.data;
  // ∂L/∂f of the mean cross-entropy on the first two inputs, of the classes 0 and 1.
  const slopes = [0, 1].flatMap((n) => {
    const odds = [0, 1].map((a) => Math.exp(f[2 * n + a]!));
    return odds.map((value, a) => (value / (odds[0]! + odds[1]!) - (a === n ? 1 : 0)) / 2);
  });
  const after = f.map(
    (value, row) => value - 0.01 * slopes.reduce((sum, s, at) => sum + kernel.data[row * 6 + at]! * s, 0),
  );
  expect(after).toBeAllClose([1.970046, 2, 4.910105, -2, 2.95505, -2], printed);
});

/** An input with a second one of some length. */
const padded = (length: number): Named<HostTensor> => ({
  x: float32([1, 2], [1, 2]),
  n: float32(new Float32Array(length), [1, length]),
});

describe("refusals", () => {
  it.each<[string, Partial<KernelOptions>]>([
    ["SUBSET_EMPTY", { subset: () => false }],
    ["SUBSET_EMPTY", { subset: undefined }],
    ["EXAMPLES_MISSING", { examples: [] }],
    ["BLOCK_INVALID", { exampleBlock: 0 }],
    ["BLOCK_INVALID", { parameterBlock: 1.5 }],
    ["BATCH_INVALID", { examples: [{ ...inputs, extra: { ...inputs.x, shape: [2, 3] } }] }],
    ["OUTPUTS_INVALID", { outputs: () => tf.zeros([0]) }],
    ["OUTPUTS_INVALID", { examples: [1, 2].map(padded), outputs: ({ logits }, { n }) => tf.concat([logits!, n!], 1) }],
  ])("%s", async (code, options) => {
    await expect(kernelOf(options)).rejects.toMatchObject({ code });
  });
  it("a model without logits, or with other than two for their difference", async () => {
    const returning = (outputs: Named<tf.Tensor>): PeftModel => new PeftModel({ ...reluNet(), forward: () => outputs });
    await expect(kernelOf({}, returning({}))).rejects.toMatchObject({ code: "OUTPUTS_INVALID" });
    const three = returning({ logits: tf.zeros([1, 3]) });
    await expect(kernelOf({ outputs: "binary" }, three)).rejects.toMatchObject({ code: "OUTPUTS_INVALID" });
  });

  it("kernels of other examples, or of nothing", async () => {
    const full = await kernelOf();
    const binary = await kernelOf({ outputs: "binary" });
    expect(() => compareKernels(binary, full)).toThrow(expect.objectContaining({ code: "SHAPE_MISMATCH" }));
    expect(() => subspaceOverlap(full, full, 7)).toThrow(expect.objectContaining({ code: "SHAPE_MISMATCH" }));
    const zero = { ...full, data: new Float64Array(36) };
    expect(() => compareKernels(zero, full)).toThrow(expect.objectContaining({ code: "KERNEL_ZERO" }));
  });
});
