import { createEngine } from "@peftjs/engine";
import { compiledEngine, installMatchers } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { GaloreConfig } from "../src/index.ts";
import { innerRule, weightDecayOf } from "../src/rules/fromConfig.ts";
import { gaussian, MatrixRun } from "./run.ts";
import type { RunOptions } from "./run.ts";

installMatchers();

async function run(options: RunOptions, steps: number): Promise<MatrixRun> {
  const result = new MatrixRun(options);
  for (let seed = 1; seed <= steps; seed++) await result.step(gaussian(options.shape, seed));
  return result;
}

describe("adafactor", () => {
  it.each([null, 0.9])("is the published algorithm, momentum %s", async (adafactorBeta1) => {
    const [m, n] = [4, 3] as const;
    const config = { rule: "adafactor", adafactorBeta1, rank: n, scale: 1 };
    const { weight, projection, state } = await run({ shape: [m, n], learningRate: 0.1, config }, 1);
    expect(projection.reduced).toEqual([m, n]);
    const own = ["rows", "columns", ...(adafactorBeta1 === null ? [] : ["m"])];
    expect(Object.keys(state)).toEqual(["basis.columns", ...own, "clock"]);

    const steps = 3;
    const identity = {
      columns: { dtype: "float32", shape: [n, n], data: Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1) },
    } as const;
    const ours = await run({ shape: [m, n], learningRate: 0.1, config, basis: () => identity }, steps);
    const [w, mean] = [new Float64Array(m * n), new Float64Array(m * n)];
    const [rows, columns] = [new Float64Array(m), new Float64Array(n)];
    for (let t = 1; t <= steps; t++) {
      const g = gaussian([m, n], t).data;
      const memory = 1 - t ** -0.8;
      rows.forEach((a, i) => {
        const squares = Array.from({ length: n }, (_, j) => (g[i * n + j] as number) ** 2);
        rows[i] = memory * a + ((1 - memory) * squares.reduce((x, y) => x + y)) / n;
      });
      columns.forEach((b, j) => {
        const squares = Array.from({ length: m }, (_, i) => (g[i * n + j] as number) ** 2);
        columns[j] = memory * b + ((1 - memory) * squares.reduce((x, y) => x + y)) / m;
      });
      const rowMean = rows.reduce((x, y) => x + y) / m;
      const u = Float64Array.from(
        g,
        (x, at) => x / Math.sqrt(((rows[Math.floor(at / n)] as number) / rowMean) * (columns[at % n] as number)),
      );
      const rms = Math.sqrt(u.reduce((x, y) => x + y * y, 0) / u.length);
      u.forEach((x, at) => {
        const step = (0.1 * x) / Math.max(1, rms);
        const before = adafactorBeta1 ?? 0;
        mean[at] = before * (mean[at] as number) + (1 - before) * step;
        w[at] = (w[at] as number) - (mean[at] as number);
      });
    }
    expect(ours.weight.data).toBeAllClose(w, { absolute: 1e-6, relative: 1e-5 });
    expect(weight.data).not.toEqual(ours.weight.data);
  });
});

describe("adamw of 8 bits", () => {
  const bytes = { rule: "adamw8bit", rank: 64, scale: 1, updateProjGap: 2 };

  it("has its own defaults", () => {
    const config = GaloreConfig.parse({ rule: "adamw8bit" });
    expect(weightDecayOf(config)).toBe(0.01);
    expect(weightDecayOf(GaloreConfig.parse({}))).toBe(0);
    expect(innerRule(config).scalars(1, 1)["epsilon"]).toBeCloseTo(1e-8 * Math.sqrt(0.001), 15);
    expect(innerRule(GaloreConfig.parse({})).scalars(1, 1)["epsilon"]).toBe(1e-6);
  });

  it("keeps a byte a number and stays near 32 bits", async () => {
    const options = { shape: [96, 80], learningRate: 0.01 } as const;
    const eight = await run({ ...options, config: { ...bytes, weightDecay: 0, momentOnRefresh: "project" } }, 4);
    const held = (name: string) => eight.state[name]?.data.byteLength;
    expect([held("m.codes"), held("m.scales"), held("v.codes")]).toEqual([96 * 64, 96, 96 * 64]);
    const common = { ...bytes, weightDecay: 0, momentOnRefresh: "project", epsMode: "corrected", epsilon: 1e-8 };
    const whole = await run({ ...options, config: { ...common, rule: "adamw" } }, 4);
    const [a, b] = [eight.weight.data as Float32Array, whole.weight.data as Float32Array];
    const size = (values: Float32Array): number => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
    const relative = size(a.map((x, i) => x - (b[i] as number))) / size(b);
    expect(relative).toBeGreaterThan(0);
    expect(relative).toBeLessThan(0.05);
  });

  it("leaves states under 4096 numbers whole", async () => {
    const config = { ...bytes, rank: 8, weightDecay: 0 };
    const small = await run({ shape: [60, 50], learningRate: 0.01, config }, 3);
    const same = { ...config, rule: "adamw", epsMode: "corrected", epsilon: 1e-8 };
    const whole = await run({ shape: [60, 50], learningRate: 0.01, config: same }, 3);
    expect(small.weight.data).toEqual(whole.weight.data);
  });
});

it.each(["adamw", "adamw8bit", "adafactor", "sgd"])("%s gives the same compiled", async (rule) => {
  const runner = await createEngine(compiledEngine);
  // The basis of another gradient: in that of its own, R is diagonal but for rounding, which Adam would take for a direction.
  const config = { rule, rank: 70, projType: "full", weightDecay: 0.1, adafactorBeta1: 0.9 };
  const options = { shape: [72, 90], learningRate: 0.01, config } as const;
  const other = new MatrixRun(options);
  await other.step(gaussian(options.shape, 50));
  const basis = () => other.bases ?? {};
  const eager = await run({ ...options, basis }, 3);
  const compiled = await run({ ...options, basis, runner }, 3);
  expect(compiled.weight.data).toBeAllClose(eager.weight.data, { absolute: 1e-6, relative: 1e-5 });
});
