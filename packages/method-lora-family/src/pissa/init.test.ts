import { createGenerator, float32, matmul, matrix, svd, transpose, weightShape } from "@peftjs/core";
import type { HostMatrix, HostTensor, InitResult, LayerSite } from "@peftjs/core";
import { installMatchers, linearSite } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { LoraConfig, loraScale } from "../lora/config.ts";
import { initLora } from "../lora/init.ts";

installMatchers();

interface Start extends InitResult {
  readonly a: HostMatrix;
  readonly b: HostMatrix;
  /** s·B·A, [out, in]. */
  readonly taken: HostMatrix;
}

/** `weight` is stored as the site says. */
function start(weight: HostTensor, settings: Partial<LoraConfig>, site: Partial<LayerSite> = {}): Start {
  const config = LoraConfig.parse(settings);
  const [first, second] = weight.shape as [number, number];
  const [outFeatures, inFeatures] = site.layout === "in_out" ? [second, first] : [first, second];
  const whole = linearSite({ path: "block.query", inFeatures, outFeatures, ...site });
  expect(weight.shape).toEqual(weightShape(whole));
  const before = Float32Array.from(weight.data);
  const result = initLora({
    ...{ site: whole, config, weight, bias: null, calibration: undefined },
    generator: createGenerator(1),
  });
  expect(weight.data).toEqual(before);
  const [a, b] = [result.params["a"]!, result.params["b"]!].map(({ data, shape }) =>
    matrix(data as Float32Array, shape as [number, number]),
  ) as [HostMatrix, HostMatrix];
  const product = matmul(b, a);
  return { ...result, a, b, taken: { ...product, data: product.data.map((value) => loraScale(config) * value) } };
}

/** Equal up to a common sign. */
function expectSame(actual: HostMatrix, expected: readonly number[], absolute: number): void {
  const sign = Math.sign(actual.data[0]! * expected[0]!);
  expect(actual.data.map((value) => sign * value)).toBeAllClose([...expected], { absolute, relative: 0 });
}

const worked = float32([3, 1, 4, 2], [2, 2]);
const random = (m: number, n: number): HostTensor => float32(createGenerator(m * 100 + n).normal(m * n), [m, n]);
const float = { absolute: 2e-7, relative: 2e-7 };

describe("PiSSA's worked example", () => {
  const rest = [0.12102077, -0.27357371, -0.08528566, 0.19279265];
  it.each([
    [1, [2.13788832, 0.94573741], [1.34664622, 1.9108976]],
    [2, [1.51171533, 0.66873734], [0.95222268, 1.35120865]],
  ])("s = %i", (alpha, expectedA, expectedB) => {
    const { a, b, weight } = start(worked, { rank: 1, alpha, initLoraWeights: "pissa" });
    expectSame(a, expectedA, 5e-7);
    expectSame(b, expectedB, 5e-7);
    expect(weight!.data).toBeAllClose(rest, { absolute: 5e-7, relative: 0 });
  });
});

describe("OLoRA's worked example", () => {
  it.each([
    [1, [0, -0.32, 0, 0.24]],
    [2, [-3, -1.64, -4, -1.52]],
  ])("s = %i", (alpha, rest) => {
    const { a, b, weight } = start(worked, { rank: 1, alpha, initLoraWeights: "olora" });
    expect(a.data).toBeAllClose([-5, -2.2], { absolute: 5e-7, relative: 0 });
    expect(b.data).toBeAllClose([-0.6, -0.8], { absolute: 5e-7, relative: 0 });
    expect(weight!.data).toBeAllClose(rest, { absolute: 1e-6, relative: 0 });
  });
});

describe.each(["pissa", "pissa_niter_0", "pissa_niter_16", "olora"] as const)("%s", (initLoraWeights) => {
  const settings = { rank: 3, alpha: 5, initLoraWeights };

  it.each([
    ["wide", random(6, 11), {}],
    ["tall", random(11, 6), {}],
    ["rsLoRA", random(7, 7), { useRslora: true }],
  ])("what is left and what is taken make the weight: %s", (_, weight, more) => {
    const { a, b, taken, weight: rest } = start(weight, { ...settings, ...more });
    expect([a.rows, a.columns, b.rows, b.columns]).toEqual([3, weight.shape[1], weight.shape[0], 3]);
    expect(rest!.data.map((value, i) => value + taken.data[i]!)).toBeAllClose([...weight.data], float);
    expect(rest!.data).not.toBeAllClose([...weight.data], { absolute: 0.1, relative: 0.1 });
  });

  it("treats a weight stored [in, out] as its transpose", () => {
    const stored = random(6, 11);
    const { data, rows, columns } = transpose(matrix(stored.data as Float32Array, [6, 11]));
    const plain = start(float32(Float32Array.from(data), [rows, columns]), settings);
    const other = start(stored, settings, { layout: "in_out" });
    expect(other.params).toEqual(plain.params);
    const back = transpose(matrix(plain.weight!.data as Float32Array, [11, 6]));
    expect(other.weight).toEqual(float32(Float32Array.from(back.data), [6, 11]));
  });

  it("does not depend on the run's generator, so that loading finds the same rest", () => {
    const [weight, config] = [random(6, 11), LoraConfig.parse(settings)];
    const site = linearSite({ inFeatures: 11, outFeatures: 6 });
    const [first, second] = [1, 2].map((seed) =>
      initLora({ site, config, weight, bias: null, calibration: undefined, generator: createGenerator(seed) }),
    );
    expect(first).toEqual(second);
  });

  it("keeps the start apart from what trains", () => {
    const { params, state } = start(random(6, 11), settings);
    expect(state).toEqual({ a0: params["a"], b0: params["b"] });
    params["a"]!.data[0]! += 1;
    params["b"]!.data[0]! += 1;
    expect(state!["a0"]!.data[0]).not.toBe(params["a"]!.data[0]);
    expect(state!["b0"]!.data[0]).not.toBe(params["b"]!.data[0]);
  });

  it.each([
    [
      "an embedding",
      {},
      { kind: "embedding", layout: "in_out", inFeatures: 6, outFeatures: 11 },
      /embedding.*Leave it out/u,
    ],
    ["a bias of B", { loraBias: true }, {}, /loraBias: false/u],
    ["a rank above the weight's", { rank: 7 }, {}, /rank 7 out of "block.query".*\[6, 11\] is 6 at most/u],
    ["no scale", { alpha: 0 }, {}, /positive alpha, got 0/u],
  ] as const)("refuses %s", (_, more, site, message) => {
    expect(() => start(random(6, 11), { ...settings, ...more }, site)).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringMatching(message) as string }),
    );
  });
});

describe("PiSSA", () => {
  const weight = random(12, 9);
  const values = svd(matrix(weight.data as Float32Array, [12, 9])).s;
  const residual = (initLoraWeights: LoraConfig["initLoraWeights"]): number => {
    const rest = start(weight, { rank: 3, alpha: 3, initLoraWeights }).weight!;
    return svd(matrix(rest.data as Float32Array, [12, 9])).s[0]!;
  };

  it("takes the largest singular values: the next one is the largest of the rest", () => {
    expect(residual("pissa")).toBeCloseTo(values[3]!, 5);
    expect(values[0]! - values[3]!).toBeGreaterThan(0.5);
  });

  it("comes closer to that with every iteration", () => {
    const [none, two, many] = (["pissa_niter_0", "pissa_niter_2", "pissa_niter_60"] as const).map(residual);
    expect(none).toBeGreaterThan(two! + 1e-3);
    expect(many).toBeCloseTo(values[3]!, 4);
  });
});
