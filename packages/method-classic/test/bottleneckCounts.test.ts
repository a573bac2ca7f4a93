import type { LayerSite, Method } from "@peftjs/core";
import { linearSite } from "@peftjs/testkit";
import { architectures, countTrainable } from "@peftjs/testkit/conformance";
import type { Described } from "@peftjs/testkit/conformance";
import { describe, expect, it } from "vitest";
import { parallel, series } from "../src/index.ts";

/** A decoder's feed-forward layers, in blocks of which each has the layers `[name, in, out]`. */
function decoder(modelType: string, blocks: number, layers: readonly (readonly [string, number, number])[]): Described {
  const sites = Array.from({ length: blocks }, (_, block) =>
    layers.map(([name, inFeatures, outFeatures]): LayerSite =>
      linearSite({ path: `model.layers.${block}.mlp.${name}`, block, inFeatures, outFeatures }),
    ),
  ).flat();
  return { modelType, sites, defaultTargets: [], headModules: [], parameters: [] };
}

const models = {
  ...architectures,
  "LLaMA-13B": decoder("llama", 40, [
    ["gate_proj", 5120, 13824],
    ["up_proj", 5120, 13824],
    ["down_proj", 13824, 5120],
  ]),
  "GPT-J-6B": decoder("gptj", 28, [
    ["fc_in", 4096, 16384],
    ["fc_out", 16384, 4096],
  ]),
  "BLOOMz-7b1": decoder("bloom", 30, [
    ["dense_h_to_4h", 4096, 16384],
    ["dense_4h_to_h", 16384, 4096],
  ]),
} as const;

type Row = readonly [model: keyof typeof models, config: object, count: number];

const adapterp = { useAdapterp: true };
const ffn = { targetRoles: ["ffnUp", "ffnDown"] };
const upDown = { targetModules: ["up_proj", "down_proj"] };

const seriesRows: readonly Row[] = [
  ["LLaMA-7B", {}, 201_326_592],
  ["LLaMA-7B", adapterp, 67_108_864],
  ["LLaMA-7B", { targetModules: ["up_proj", "gate_proj"] }, 134_217_728],
  // The dense baseline of the tensor-train adapters, without norms.
  ["LLaMA-7B", { bottleneckSize: 64 }, 50_331_648],
  ["LLaMA-13B", adapterp, 104_857_600],
  // With its norms, 81·5120, this is the 79,057,920 of that paper.
  ["LLaMA-13B", { bottleneckSize: 64 }, 79_057_920 - 81 * 5120],
  ["GPT-J-6B", adapterp, 58_720_256],
  ["BLOOMz-7b1", adapterp, 62_914_560],
  ["RoBERTa-base", { ...adapterp, bottleneckSize: 64 }, 1_179_648],
  ["RoBERTa-base", adapterp, 4_718_592],
  ["RoBERTa-large", { ...adapterp, bottleneckSize: 64 }, 3_145_728],
  ["RoBERTa-large", adapterp, 12_582_912],
  // One number per layer.
  ["RoBERTa-base", { ...adapterp, scaling: "learned" }, 4_718_592 + 12],
];

const parallelRows: readonly Row[] = [
  ["LLaMA-7B", {}, 201_326_592],
  ["LLaMA-7B", upDown, 247_463_936],
  ["LLaMA-13B", upDown, 387_973_120],
  ["GPT-J-6B", { targetModules: ["fc_in", "fc_out"] }, 293_601_280],
  ["BLOOMz-7b1", { targetModules: ["dense_h_to_4h", "dense_4h_to_h"] }, 314_572_800],
  ["RoBERTa-base", ffn, 23_592_960],
];

const adapterOf = (method: Method<never>, [model, config]: Row): number =>
  countTrainable(method, config as Partial<never>, models[model]).adapter;

describe("parameters of bottleneck adapters", () => {
  it.each(seriesRows)("series on %s, %o: %i", (...row) => {
    expect(adapterOf(series as unknown as Method<never>, row)).toBe(row[2]);
  });

  it.each(parallelRows)("parallel on %s, %o: %i", (...row) => {
    expect(adapterOf(parallel as unknown as Method<never>, row)).toBe(row[2]);
  });

  it.each([
    ["0.986", series, adapterp],
    ["1.953", series, { targetModules: ["up_proj", "gate_proj"] }],
    ["2.901", series, {}],
    ["3.542", parallel, upDown],
  ])("are %s %% of LLaMA-7B", (share, method, config) => {
    const { adapter, all } = countTrainable(method as unknown as Method<never>, config as never, models["LLaMA-7B"]);
    expect(all - adapter).toBe(6_738_415_616);
    expect(((100 * adapter) / all).toFixed(3)).toBe(share);
  });

  it("Houlsby's adapters of size 8 in RoBERTa-base, with norms and head, are the 944,066 of the literature", () => {
    const count = countTrainable(
      series,
      {
        ...{ targetRoles: ["attentionOutput", "ffnDown"], bottleneckSize: 8, bottleneckBias: true },
        modulesToSave: ["classifier", "LayerNorm"],
      },
      models["RoBERTa-base"],
    );
    expect(count).toMatchObject({ targets: 24, trainable: 944_066 });
  });
});
