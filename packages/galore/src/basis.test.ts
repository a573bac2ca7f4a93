import { createGenerator, float32, matmul, matrix, transpose } from "@peftjs/core";
import type { HostTensor, TensorRunner } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { compiledEngine, eagerEngine, installMatchers } from "@peftjs/testkit";
import type * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { alignSigns, findBases, firstCosine } from "./basis.ts";
import { asMatrix, asTensor } from "./host.ts";
import { projectionOf } from "./projection.ts";
import type { PerAxis, Projection } from "./projection.ts";
import { basesOfSketch, drawSketch, sketchOf } from "./sketch.ts";

installMatchers();

const orthonormal = { absolute: 1e-5, relative: 0 };
const randomized = { svd: "randomized", oversample: 8, powerIterations: 2 } as const;
const exact = { ...randomized, svd: "exact" } as const;

/** (I − 2u·uᵀ)·diag(s)·(I − 2v·vᵀ) with u, v random of length one: singular values s, dense singular vectors. */
function withSpectrum(s: readonly number[], rows = s.length): HostTensor {
  const generator = createGenerator(9);
  const unit = (n: number): Float64Array => {
    const values = Float64Array.from(generator.normal(n));
    const length = Math.hypot(...values);
    return values.map((x) => x / length);
  };
  const n = s.length;
  const [u, v] = [unit(rows), unit(n)];
  // The product of u with diag(s), and what the second reflection takes from each row.
  const us = s.map((x, j) => x * (u[j] as number));
  const usv = us.reduce((sum, x, j) => sum + x * (v[j] as number), 0);
  const entry = (i: number, j: number): number => {
    const [ui, vi, vj] = [u[i] as number, v[i] ?? 0, v[j] as number];
    const si = s[i] ?? 0;
    return (i === j ? si : 0) - 2 * ui * (us[j] as number) - 2 * (si * vi - 2 * ui * usv) * vj;
  };
  return float32(
    Float32Array.from({ length: rows * n }, (_, at) => entry(Math.floor(at / n), at % n)),
    [rows, n],
  );
}

/** ‖G·Pᵀ‖² (or ‖P·G‖²) of what the first r singular values hold. */
function captured(gradient: HostTensor, basis: HostTensor, s: readonly number[], axis: "rows" | "columns"): number {
  const [p, g] = [asMatrix(basis), asMatrix(gradient)];
  const product = axis === "rows" ? matmul(p, g) : matmul(g, transpose(p));
  const best = s.slice(0, p.rows).reduce((sum, x) => sum + x * x, 0);
  return Array.from(product.data).reduce((sum, x) => sum + x * x, 0) / best;
}

function gram(basis: HostTensor): ArrayLike<number> {
  const p = asMatrix(basis);
  return matmul(p, transpose(p)).data;
}

function identity(n: number): number[] {
  return Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
}

async function fromSketch(gradient: HostTensor, projection: Projection, runner: TensorRunner) {
  const options = { ...randomized, projection };
  const drawn = { projection, config: randomized, generator: createGenerator(1) };
  const inputs = drawSketch(gradient.shape as [number, number], drawn);
  const program = runner.compile(({ own, inputs: x }) => ({
    y: sketchOf(own?.["gradient"] as tf.Tensor2D, x ?? {}, options),
  }));
  const { y } = await program.run({ own: { gradient }, inputs });
  await program.dispose();
  return basesOfSketch(y ?? {}, { ...options, runner, generator: createGenerator(2) });
}

/** Orthonormal rows that hold at least a part of the energy of the first eight singular values, on both axes. */
function expectLeading(
  { gradient, s, least }: { readonly gradient: HostTensor; readonly s: readonly number[]; readonly least: number },
  bases: PerAxis<HostTensor>,
): void {
  for (const axis of ["rows", "columns"] as const) {
    const basis = bases[axis] as HostTensor;
    const ratio = captured(gradient, basis, s, axis);
    expect(ratio).toBeGreaterThanOrEqual(least);
    expect(ratio).toBeLessThanOrEqual(1 + 1e-5);
    expect(gram(basis)).toBeAllClose(identity(8), orthonormal);
  }
}

const spectrum = (n: number, power: number): number[] => Array.from({ length: n }, (_, i) => (i + 1) ** -power);

describe("the randomized basis", () => {
  it.each([
    ["1/i", 1, 0.999],
    ["1/√i", 0.5, 0.99],
  ])("holds the leading part of the spectrum %s, 768 × 768", async (_, power, least) => {
    const s = spectrum(768, power);
    const gradient = withSpectrum(s);
    const projection = projectionOf([768, 768], { projType: "full", rank: 8, layout: "out_in" });
    const runner = await createEngine(compiledEngine);
    const options = { projection, config: randomized, generator: createGenerator(1), runner };
    const { rows, columns } = await findBases(gradient, options);
    expectLeading({ gradient, s, least }, { rows, columns });
  });

  it.each([
    ["1/i", 1, 0.999],
    ["1/√i", 0.5, 0.99],
    // Singular values to the fifth power are beyond float32 here.
    ["2⁻ⁱ", null, 0.999],
  ])("holds as much of the spectrum %s when it is found from a sketch", async (_, power, least) => {
    const s = power === null ? Array.from({ length: 512 }, (_value, i) => 2 ** -i) : spectrum(512, power);
    const gradient = withSpectrum(s, 600);
    const projection = projectionOf([600, 512], { projType: "full", rank: 8, layout: "out_in" });
    const { rows, columns } = await fromSketch(gradient, projection, await createEngine(compiledEngine));
    expectLeading({ gradient, s, least }, { rows, columns });
    for (const [axis, basis] of [
      ["rows", rows],
      ["columns", columns],
    ] as const) {
      // The least of eight directions, too.
      const last = asTensor(
        matrix(Float64Array.from(basis?.data.slice(-(basis.shape[1] ?? 0)) ?? []), [1, basis?.shape[1] ?? 0]),
      );
      if (power === null) expect(captured(gradient, last, s.slice(7), axis)).toBeGreaterThan(0.9);
    }
  });

  it("is orthonormal from the sketch of a gradient of zeros", async () => {
    const projection = projectionOf([100, 80], { projType: "std", rank: 4, layout: "out_in" });
    const zero = float32(new Float32Array(8000), [100, 80]);
    const { columns } = await fromSketch(zero, projection, await createEngine(eagerEngine));
    expect(gram(columns as HostTensor)).toBeAllClose(identity(4), orthonormal);
  });

  it("is the exact one, up to signs, of a matrix of low rank, on either side", async () => {
    const gradient = withSpectrum([4, 3, 2, 1, ...new Array<number>(76).fill(0)], 100);
    const runner = await createEngine(eagerEngine);
    for (const projType of ["left", "right", "full"] as const) {
      const projection = projectionOf([100, 80], { projType, rank: 4, layout: "out_in" });
      const [ours, theirs] = await Promise.all(
        [randomized, exact].map((config) =>
          findBases(gradient, { projection, config, generator: createGenerator(1), runner }),
        ),
      );
      const aligned = alignSigns(ours ?? {}, theirs ?? {});
      expect(Object.keys(aligned)).toEqual(Object.keys(projection.axes));
      if (aligned.rows)
        expect(aligned.rows.data).toBeAllClose(theirs?.rows?.data ?? [], { absolute: 1e-5, relative: 0 });
      if (aligned.columns)
        expect(aligned.columns.data).toBeAllClose(theirs?.columns?.data ?? [], { absolute: 1e-5, relative: 0 });
    }
  });

  it.each([
    ["of few directions", Array.from({ length: 300 }, (_, i) => (i < 40 ? 1 / (i + 1) : 0))],
    ["whose directions fade", Array.from({ length: 300 }, (_, i) => 2 ** -i)],
    ["that is tiny", spectrum(300, 2).map((s) => s * 1e-12)],
    ["that is huge", spectrum(300, 2).map((s) => s * 1e12)],
    ["of zeros", new Array<number>(300).fill(0)],
  ])("of rank 128 is orthonormal, and holds all there is, of a gradient %s", async (_, s) => {
    const gradient = withSpectrum(s, 320);
    const projection = projectionOf([320, 300], { projType: "full", rank: 128, layout: "out_in" });
    const runner = await createEngine(compiledEngine);
    const options = { projection, config: randomized, generator: createGenerator(1), runner };
    for (const found of [await findBases(gradient, options), await fromSketch(gradient, projection, runner)]) {
      for (const axis of ["rows", "columns"] as const) {
        const basis = found[axis] as HostTensor;
        expect(gram(basis)).toBeAllClose(identity(128), orthonormal);
        if (s[0] !== 0) expect(captured(gradient, basis, s, axis)).toBeGreaterThan(0.99999);
      }
    }
  });

  it("refuses a gradient that is not finite", async () => {
    const gradient = withSpectrum(spectrum(80, 1));
    gradient.data[7] = NaN;
    const projection = projectionOf([80, 80], { projType: "std", rank: 4, layout: "out_in" });
    const runner = await createEngine(eagerEngine);
    const found = findBases(gradient, { projection, config: randomized, generator: createGenerator(1), runner });
    await expect(found).rejects.toThrow("finite");
  });

  it("is the same again from the same seed", async () => {
    const gradient = withSpectrum(spectrum(80, 1));
    const projection = projectionOf([80, 80], { projType: "std", rank: 4, layout: "out_in" });
    const runner = await createEngine(eagerEngine);
    const find = (seed: number) =>
      findBases(gradient, { projection, config: randomized, generator: createGenerator(seed), runner });
    expect((await find(3)).columns?.data).toEqual((await find(3)).columns?.data);
    expect((await find(3)).columns?.data).not.toEqual((await find(4)).columns?.data);
  });

  it("is orthonormal for a gradient of zeros", async () => {
    const projection = projectionOf([80, 80], { projType: "full", rank: 4, layout: "out_in" });
    const runner = await createEngine(eagerEngine);
    const zero = float32(new Float32Array(6400), [80, 80]);
    const bases = await findBases(zero, { projection, config: randomized, generator: createGenerator(1), runner });
    expect(gram(bases.rows as HostTensor)).toBeAllClose(identity(4), orthonormal);
    expect(gram(bases.columns as HostTensor)).toBeAllClose(identity(4), orthonormal);
  });
});

describe("two bases", () => {
  const basis = (...rows: number[][]): HostTensor =>
    asTensor(matrix(Float64Array.from(rows.flat()), [rows.length, rows[0]?.length ?? 0]));

  it("are aligned vector by vector", () => {
    const previous = { columns: basis([1, 0], [0, 1]) };
    const { columns } = alignSigns({ columns: basis([-0.8, 0.6], [0.6, 0.8]) }, previous);
    expect(columns?.data).toEqual(Float32Array.of(0.8, -0.6, 0.6, 0.8));
  });

  it("are compared by their first vectors, whatever the signs", () => {
    const previous = { rows: basis([1, 0], [0, 1]), columns: basis([0, 1]) };
    expect(firstCosine({ rows: basis([-0.8, 0.6], [0.6, 0.8]), columns: basis([0, -1]) }, previous)).toBeCloseTo(
      0.8,
      6,
    );
  });
});
