import type { HostTensor } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { compiledEngine, installMatchers } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { gaussian, MatrixRun, negated, of, transposed } from "./run.ts";
import type { RunOptions } from "./run.ts";

installMatchers();

/** Tells ε before bias correction from ε after it. */
const close = { absolute: 5e-8, relative: 0 };
const G1 = of([
  [4, 3],
  [0, 0],
  [0, 0],
]);
const G2 = of([
  [1, 0],
  [2, 1],
  [0, -1],
]);

async function run(gradients: readonly HostTensor[], options: Partial<RunOptions> = {}): Promise<MatrixRun> {
  const { config, ...rest } = options;
  const result = new MatrixRun({
    shape: [3, 2],
    learningRate: 0.1,
    config: { rank: 1, ...(config as object) },
    ...rest,
  });
  for (const gradient of gradients) await result.step(gradient);
  return result;
}

describe("two steps of a 3 × 2 matrix", () => {
  it("projects the columns onto (0.8, 0.6)", async () => {
    const { bases, projection } = await run([G1]);
    expect(projection.reduced).toEqual([3, 1]);
    expect(Array.from(bases?.columns?.data ?? [], Math.abs)).toBeAllClose([0.8, 0.6], close);
  });

  it("takes the first step", async () => {
    const { weight } = await run([G1]);
    expect(weight.data).toBeAllClose([-0.01999987, -0.0149999, 0, 0, 0, 0], close);
  });

  it("adds ε after bias correction when asked to", async () => {
    const { weight } = await run([G1], { config: { epsMode: "corrected" } });
    expect(weight.data).toBeAllClose([-0.019999996, -0.014999997, 0, 0, 0, 0], { absolute: 4e-9, relative: 0 });
  });

  it("keeps the basis within a window", async () => {
    const { weight } = await run([G1, G2]);
    expect(weight.data).toBeAllClose(
      [-0.035584944, -0.026688708, -0.014882523, -0.011161892, 0.014881952, 0.011161464],
      close,
    );
  });

  const rest = [-0.01663917, -0.008319585, 0.016638229, 0.008319114];
  it.each([
    ["keeps the moments", "keep", [-0.037679826, -0.023839881, ...rest]],
    ["projects the moments", "project", [-0.037718796, -0.023859366, ...rest]],
    ["resets state and step", "reset", [-0.04235976, -0.02617985, -0.02236036, -0.01118018, 0.0223591, 0.01117955]],
  ])("%s at an aligned refresh", async (_, momentOnRefresh, expected) => {
    const { weight } = await run([G1, G2], { config: { updateProjGap: 1, momentOnRefresh } });
    expect(weight.data).toBeAllClose(expected, close);
  });

  it("turns part of an update back where signs are not aligned", async () => {
    const { weight } = await run([G1, G2], {
      config: { updateProjGap: 1, alignSigns: false },
      // (0.8, 0.6), then −(0.894427191, 0.447213595).
      basis: (found, step) => ((found.columns?.data[0] ?? 0) > 0 === (step === 0) ? found : negated(found)),
    });
    expect(weight.data).toBeAllClose([-0.008182798, -0.009091367, ...rest], close);
  });

  it("gives the transposed result for the transposed problem", async () => {
    for (const updateProjGap of [1, 2]) {
      const expected = await run([G1, G2], { config: { updateProjGap } });
      const wide = await run([transposed(G1), transposed(G2)], { shape: [2, 3], config: { updateProjGap } });
      expect(wide.projection.reduced).toEqual([1, 3]);
      expect(transposed(wide.weight).data).toBeAllClose(expected.weight.data, { absolute: 1e-9, relative: 0 });
    }
  });

  it("does not depend on the stored layout", async () => {
    const expected = await run([G1, G2]);
    const stored = await run([transposed(G1), transposed(G2)], { shape: [2, 3], layout: "in_out" });
    expect(stored.projection.reduced).toEqual([1, 3]);
    expect(transposed(stored.weight).data).toBeAllClose(expected.weight.data, { absolute: 1e-9, relative: 0 });
  });
});

describe("a square matrix", () => {
  const gradients = [
    of([
      [2, 1],
      [0, 0],
    ]),
    of([
      [0, 0],
      [1, 0],
    ]),
  ];
  const right = [-0.14937244, -0.07468622, -0.06655527, -0.03327763];

  it("is projected from the right, whatever its layout", async () => {
    const first = await run(gradients.slice(0, 1), { shape: [2, 2], config: { scale: 1 } });
    expect(first.state["m"]?.shape).toEqual([2, 1]);
    expect(first.weight.data).toBeAllClose([-0.08944146, -0.04472073, 0, 0], close);
    const second = await run(gradients, { shape: [2, 2], config: { scale: 1 } });
    expect(second.weight.data).toBeAllClose(right, close);
    const stored = await run(gradients.map(transposed), { shape: [2, 2], layout: "in_out", config: { scale: 1 } });
    expect(stored.state["m"]?.shape).toEqual([1, 2]);
    expect(transposed(stored.weight).data).toBeAllClose(right, close);
  });

  it("is projected from the left when asked to", async () => {
    const { weight } = await run(gradients, { shape: [2, 2], config: { scale: 1, projType: "left" } });
    expect(weight.data).toBeAllClose([-0.16700317, -0.16700053, 0, 0], close);
  });
});

it("decays the updated weight, not scaled by α", async () => {
  const gradient = of([[1], [0]]);
  const config = { scale: 1, weightDecay: 0.5 };
  const { weight } = await run([gradient], { shape: [2, 1], weight: of([[1], [1]]), config });
  expect(weight.data).toBeAllClose([0.855, 0.95], { absolute: 1e-5, relative: 0 });
});

describe("invariants", () => {
  it("is plain gradient descent at full rank with α = 1", async () => {
    for (const shape of [
      [6, 4],
      [4, 6],
    ] as const) {
      const gradients = [1, 2, 3].map((seed) => gaussian(shape, seed));
      const config = { rule: "sgd", scale: 1, rank: 8, updateProjGap: 2 };
      const { weight } = await run(gradients, { shape, config });
      const expected = Array.from(weight.data, (_, i) =>
        gradients.reduce((w, { data }) => w - 0.1 * (data[i] as number), 0),
      );
      expect(weight.data).toBeAllClose(expected, { absolute: 1e-5, relative: 0 });
    }
  });

  it("is bit-identical with flipped signs within a window", async () => {
    const gradients = [1, 2, 3, 4].map((seed) => gaussian([6, 5], seed));
    for (const projType of ["std", "left", "full"]) {
      const options = { shape: [6, 5], config: { rank: 2, projType } } as const;
      const expected = await run(gradients, options);
      const flipped = await run(gradients, { ...options, basis: (found) => negated(found) });
      expect(flipped.weight.data).toEqual(expected.weight.data);
    }
  });

  it("scales the first update to η·α·√(r/d) = 0.102062·η·α", async () => {
    const shape = [768, 768] as const;
    const runner = await createEngine(compiledEngine);
    const { weight } = await run([gaussian(shape, 7)], {
      shape,
      runner,
      config: { rank: 8, scale: 2, svd: "randomized" },
    });
    const rms = Math.sqrt(Array.from(weight.data).reduce((sum, w) => sum + w * w, 0) / weight.data.length);
    expect(rms / (0.1 * 2 * 0.102062)).toBeCloseTo(1, 3);
  });
});
