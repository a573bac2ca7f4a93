import { float32 } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";
import { installMatchers } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { gaussian, MatrixRun, sum } from "./run.ts";
import type { RunOptions } from "./run.ts";

installMatchers();

const shape = [6, 4] as const;

async function run(options: Partial<RunOptions>, steps = 3): Promise<MatrixRun> {
  const result = new MatrixRun({ shape, learningRate: 0.05, ...options });
  const { updates } = result;
  for (let seed = updates + 1; seed <= updates + steps; seed++)
    await result.step(gaussian(options.shape ?? shape, seed));
  return result;
}

/** AdamW of torch without decay, three steps from zero. */
function adamW(learningRate: number): Float64Array {
  const [w, m, v] = [1, 2, 3].map(() => new Float64Array(shape[0] * shape[1])) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  for (let t = 1; t <= 3; t++) {
    gaussian(shape, t).data.forEach((g, i) => {
      m[i] = 0.9 * (m[i] as number) + 0.1 * g;
      v[i] = 0.999 * (v[i] as number) + 0.001 * g * g;
      const direction = (m[i] as number) / (1 - 0.9 ** t) / (Math.sqrt((v[i] as number) / (1 - 0.999 ** t)) + 1e-8);
      w[i] = (w[i] as number) - learningRate * direction;
    });
  }
  return w;
}

describe("at full rank with α = 1", () => {
  const config = { rank: 4, scale: 1, epsilon: 1e-8, epsMode: "corrected" };

  it("AdamW is not AdamW: the coordinates are turned", async () => {
    const { weight } = await run({ config });
    const differences = Array.from(adamW(0.05), (w, i) => Math.abs(w - (weight.data[i] as number)));
    expect(Math.max(...differences)).toBeCloseTo(0.1838, 4);
  });

  it("AdamW is AdamW when the basis is the identity", async () => {
    const identity = float32([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], [4, 4]);
    const { weight } = await run({ config, basis: () => ({ columns: identity }) });
    expect(weight.data).toBeAllClose(adamW(0.05), { absolute: 1e-6, relative: 1e-5 });
  });
});

describe("a step", () => {
  const config = { rank: 2, scale: 1 };

  it("is λ times as long at a rate λ times as high", async () => {
    const before = await run({ config }, 3);
    const after = async (learningRate: number): Promise<Float64Array> => {
      const { weight } = await run({ config, from: before, learningRate }, 1);
      return Float64Array.from(weight.data, (w, i) => w - (before.weight.data[i] as number));
    };
    const plain = await after(0.05);
    expect(await after(0.2)).toBeAllClose(
      plain.map((step) => 4 * step),
      { absolute: 1e-6, relative: 0 },
    );
  });

  it("takes the clipped gradient", async () => {
    const sgd = { ...config, rule: "sgd" };
    const { weight } = await run({ config: sgd }, 1);
    const clipped = await run({ config: sgd, gradientScale: 0.25 }, 1);
    expect(clipped.weight.data).toBeAllClose(
      weight.data.map((w) => w / 4),
      { absolute: 1e-7, relative: 0 },
    );
  });
});

describe("reduced where it arises", () => {
  const common = { rank: 2, scale: 1, updateProjGap: 2 };

  it.each(["adamw", "adafactor", "sgd"])("is the same, clipped and accumulated: %s", async (rule) => {
    const bases = await run({ config: common }, 1);
    const outcome = async (layerwise: boolean): Promise<HostTensor> => {
      const config = { ...common, rule, layerwise };
      const result = new MatrixRun({ shape, learningRate: 0.05, config, gradientScale: 0.5, basis: () => bases.bases });
      for (let seed = 1; seed <= 4; seed++) await result.step(gaussian(shape, seed), gaussian(shape, 10 + seed));
      return result.weight;
    };
    expect((await outcome(true)).data).toBeAllClose((await outcome(false)).data, { absolute: 1e-6, relative: 1e-6 });
  });

  it("finds bases in the first micro-batch", async () => {
    const [first, second] = [gaussian(shape, 1), gaussian(shape, 2)];
    const reduced = new MatrixRun({ shape, learningRate: 0.05, config: { ...common, layerwise: true } });
    await reduced.step(first, second);
    const whole = new MatrixRun({ shape, learningRate: 0.05, config: common });
    await whole.step(first);
    expect(reduced.bases).toEqual(whole.bases);
    const both = new MatrixRun({ shape, learningRate: 0.05, config: common });
    await both.step(sum([first, second]));
    expect(reduced.bases).not.toEqual(both.bases);
  });
});

describe("resumed", () => {
  it.each([
    ["8 bits", { rule: "adamw8bit", momentOnRefresh: "project" }],
    ["4-bit bases", { basisBits: 4 }],
    ["randomized bases", { svd: "randomized", rank: 4 }],
    ["sketches", { svd: "randomized", rank: 4, layerwise: true }],
    ["an adaptive gap", { adaptiveGap: { threshold: 0, queue: 2 } }],
    ["a reset", { momentOnRefresh: "reset" }],
  ])("goes on bit for bit: %s", async (_, settings) => {
    const options = { shape: [96, 80], config: { rank: 64, updateProjGap: 3, ...settings } } as const;
    const whole = await run(options, 7);
    for (const until of [2, 3, 4]) {
      const rest = await run({ ...options, from: await run(options, until) }, 7 - until);
      expect(rest.state).toEqual(whole.state);
      expect(rest.weight).toEqual(whole.weight);
    }
  });
});
