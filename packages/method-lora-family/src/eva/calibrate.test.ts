import { createGenerator, float32, matmul, matrix, transpose } from "@peftjs/core";
import type { CalibrateContext, HostTensor, LayerSite } from "@peftjs/core";
import { linearSite } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { LoraConfig } from "../lora/config.ts";
import { calibrateEva } from "./calibrate.ts";
import type { EvaStart } from "./calibrate.ts";
import { EvaConfig } from "./config.ts";

const IN = 12;
const ROWS = 40;

const site = (path: string, kind: LayerSite["kind"] = "linear"): LayerSite =>
  linearSite({ path, kind, inFeatures: IN, outFeatures: 6 });

/** Inputs whose features have the variances (1, d, d², …)². */
function draw(seed: number, decay: number, rows = ROWS): HostTensor {
  const values = createGenerator(seed).normal(rows * IN);
  return float32(
    values.map((value, i) => value * decay ** (i % IN)),
    [rows, IN],
  );
}

interface Data {
  readonly sites: readonly LayerSite[];
  /** Inputs of one batch by path. */
  readonly inputs: (batch: number) => Record<string, HostTensor>;
  readonly batches?: number | null;
}

/** q and k share an input of slow decay; o has one of fast decay. */
const data: Data = {
  sites: ["q", "k", "o"].map((path) => site(path)),
  inputs: (batch) => {
    const shared = draw(batch, 0.8);
    return { q: shared, k: shared, o: draw(batch + 100, 0.4) };
  },
};

async function calibrate(config: Partial<EvaConfig>, { sites, inputs, batches = 6 }: Data = data) {
  const seen: number[] = [];
  const warnings: string[] = [];
  const unexpected = () => Promise.reject(new Error("EVA asks for inputs alone."));
  const context: CalibrateContext<EvaConfig> = {
    ...{ sites, config: EvaConfig.parse(config), generator: createGenerator(1) },
    warn: (message) => void warnings.push(message),
    model: {} as CalibrateContext<EvaConfig>["model"],
    batches:
      batches === null ? null : Array.from({ length: batches }, (_, index) => ({ index: float32([index], [1]) })),
    layerInputs: async (batch) => {
      const index = batch["index"]!.data[0]!;
      seen.push(index);
      return new Map(Object.entries(inputs(index)));
    },
    layerOutputs: unexpected,
    gradients: unexpected,
  };
  const result = await calibrateEva(context);
  return { seen, warnings, config: result.config!, start: result.values as EvaStart };
}

const rankOf = (start: EvaStart) => Object.fromEntries([...start].map(([path, { shape }]) => [path, shape[0]]));

function host({ data: values, shape }: HostTensor) {
  return matrix(values as Float32Array, shape as [number, number]);
}

describe("calibrateEva", () => {
  it("does nothing for other starts", async () => {
    const context = { config: LoraConfig.parse({}), batches: null } as unknown as CalibrateContext<LoraConfig>;
    expect(await calibrateEva(context)).toEqual({});
  });

  it("gives orthonormal rows, as many in all as the config's ranks, and equal spans where inputs are shared", async () => {
    const { start, config, warnings } = await calibrate({ rank: 3, alpha: 6, eva: { tau: 0.9 } });
    const ranks = rankOf(start) as Record<string, number>;
    expect(Object.values(ranks).reduce((sum, rank) => sum + rank)).toBe(9);
    expect(ranks["o"]).toBeLessThan(3);
    expect(config.rankPattern).toEqual(Object.fromEntries(Object.entries(ranks).filter(([, rank]) => rank !== 3)));
    for (const [path, a] of start) {
      const { data: product } = matmul(host(a), transpose(host(a)));
      const rank = ranks[path]!;
      product.forEach((value, i) => expect(Math.abs(value - (i % (rank + 1) === 0 ? 1 : 0))).toBeLessThan(1e-5));
    }
    const [q, k] = [start.get("q")!, start.get("k")!];
    expect(q.data.slice(0, k.data.length)).toEqual(k.data);
    expect(warnings).toEqual([]);
  });

  it("keeps α/r, and α/√r of rsLoRA", async () => {
    const config: Partial<EvaConfig> = { rank: 3, alpha: 6, alphaPattern: { o: 5 }, eva: { tau: 0.9 } };
    for (const useRslora of [false, true]) {
      const { start, config: found } = await calibrate({ ...config, useRslora });
      const power = useRslora ? 0.5 : 1;
      for (const [path, rank] of Object.entries(rankOf(start))) {
        const alpha = found.alphaPattern[path] ?? found.alpha;
        expect(alpha / rank! ** power, path).toBeCloseTo((path === "o" ? 5 : 6) / 3 ** power, 10);
      }
    }
    const { config: as } = await calibrate({ ...config, eva: { tau: 0.9, adjustScalingFactors: false } });
    expect(as.alphaPattern).toEqual({ o: 5 });
  });

  it("ρ = 1 leaves all ranks as they are", async () => {
    const { start, config } = await calibrate({ rank: 3, rankPattern: { o: 2 }, eva: { rho: 1, tau: 0.9 } });
    expect(rankOf(start)).toEqual({ q: 3, k: 3, o: 2 });
    expect(config.rankPattern).toEqual({ o: 2 });
  });

  it("drops layers that get no rank", async () => {
    const { start, config } = await calibrate(
      { rank: 1, targetRoles: ["query"], eva: { rho: 4, tau: 0.5 } },
      { ...data, inputs: (batch) => ({ q: draw(batch, 0.7), k: draw(batch + 50, 0.7), o: draw(batch, 1) }) },
    );
    expect([...start.keys()]).toEqual(["q", "k"]);
    expect(config).toMatchObject({ targetModules: ["q", "k"], targetRoles: null });
  });

  it("whitens each layer once", async () => {
    const settings = { rank: 2, eva: { rho: 1, tau: 0.9 } } as const;
    const [plain, white] = await Promise.all([
      calibrate(settings),
      calibrate({ ...settings, eva: { ...settings.eva, whiten: true } }),
    ]);
    expect(white.start.get("k")).toEqual(white.start.get("q"));
    const [a, w] = [plain.start.get("q")!.data, white.start.get("q")!.data];
    const factors = [0, 1].map((row) => a[row * IN + row]! / w[row * IN + row]!);
    // √S, and S² is about the number of rows times the variance.
    expect(factors[0]! ** 4 / factors[1]! ** 4).toBeCloseTo(1 / 0.8 ** 2, 0);
    expect(factors[0]!).toBeGreaterThan(2);
  });

  it("starts again from the first batch until all have converged", async () => {
    const { seen, warnings } = await calibrate({ rank: 3, eva: { tau: 0.9999 } }, { ...data, batches: 2 });
    expect(seen.length).toBeGreaterThan(2);
    expect(seen).toEqual(seen.map((_, index) => index % 2));
    expect(warnings).toEqual([]);
  });

  it("stops at maxBatches with a warning", async () => {
    const { seen, start, warnings } = await calibrate({ rank: 3, eva: { tau: 1, maxBatches: 4 } });
    expect(seen).toEqual([0, 1, 2, 3]);
    expect(Object.values(rankOf(start)).reduce((sum, rank) => sum! + rank!)).toBe(9);
    expect(warnings).toEqual([expect.stringMatching(/^After 4 batches the components of q, k, o have not converged/u)]);
  });

  it("leaves embeddings, and layers with too few rows, at the plain start and out of the ranking", async () => {
    const { start, config, warnings } = await calibrate(
      { rank: 3, rankPattern: { words: 2 }, eva: { tau: 0.9 } },
      {
        sites: [site("words", "embedding"), ...data.sites, site("pooler")],
        inputs: (batch) => ({ ...data.inputs(batch), words: draw(1, 1), pooler: draw(batch, 1, 4) }),
      },
    );
    expect(Object.keys(rankOf(start))).toEqual(["q", "k", "o"]);
    expect(config.targetModules).toEqual(["words", "q", "k", "o", "pooler"]);
    expect(config.rankPattern).toMatchObject({ words: 2 });
    expect(warnings).toEqual([expect.stringMatching(/has the 6 rows that EVA needs for pooler:/u)]);
  });

  it("says what is missing", async () => {
    const code = (name: string) => expect.objectContaining({ code: name }) as unknown;
    await expect(calibrate({}, { ...data, batches: null })).rejects.toEqual(code("CALIBRATION_DATA_MISSING"));
    await expect(calibrate({}, { ...data, batches: 0 })).rejects.toEqual(code("CALIBRATION_DATA_MISSING"));
    const few = { ...data, inputs: () => ({ q: draw(1, 1, 4), k: draw(2, 1, 4), o: draw(3, 1, 4) }) };
    await expect(calibrate({}, few)).rejects.toEqual(code("CALIBRATION_DATA_TOO_SMALL"));
  });
});
