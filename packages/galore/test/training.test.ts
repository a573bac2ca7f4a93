import { installMatchers, scratchFolders } from "@peftjs/testkit";
import { describeOnEngines } from "@peftjs/testkit/conformance";
import { expect, it } from "vitest";
import type { GaloreConfig } from "../src/index.ts";
import { losses, referenceModel } from "./models.ts";
import type { RunOptions } from "./models.ts";

installMatchers();

const fresh = scratchFolders();

describeOnEngines("training", (engine) => {
  const run = async (config: Partial<GaloreConfig> | null, options: Partial<RunOptions> = {}) => {
    const model = await referenceModel(config);
    return { losses: await losses(model, { engine: engine(), steps: 8, ...options }), trained: model.trainable() };
  };

  it.each([
    ["exact", { rank: 3, updateProjGap: 4, scale: 2, svd: "exact" }, null],
    ["clipped", { rank: 3, updateProjGap: 4, scale: 2 }, 0.05],
    ["with a basis of 4 bits", { rank: 3, updateProjGap: 4, scale: 2, basisBits: 4 }, null],
    ["of both sides", { rank: 3, updateProjGap: 4, projType: "full" }, null],
  ] as const)("is the same when gradients are reduced where they arise: %s", async (_, config, maxGradNorm) => {
    const whole = await run(config, { config: { maxGradNorm } });
    const reduced = await run({ ...config, layerwise: true }, { config: { maxGradNorm } });
    expect(reduced.losses).toBeAllClose(whole.losses, { absolute: 0, relative: 1e-6 });
    const names = Object.keys(whole.trained).filter((key) => !key.endsWith("key.bias"));
    for (const name of names) {
      const expected = whole.trained[name]?.data ?? [];
      expect(reduced.trained[name]?.data, name).toBeAllClose(expected, { absolute: 1e-6, relative: 1e-6 });
    }
  });

  it("goes on bit for bit, wherever it was interrupted", async () => {
    const common = { rank: 3, updateProjGap: 3, scale: 2 } as const;
    const configs: Partial<GaloreConfig>[] = [
      { momentOnRefresh: "reset" },
      { basisBits: 4, momentOnRefresh: "project" },
      { adaptiveGap: { threshold: 0, queue: 1, factor: 1.5 } },
      { layerwise: true, rule: "adafactor" },
    ];
    for (const config of configs) {
      const whole = await run({ ...common, ...config });
      // The step before the second refresh, that of it, and the one after it.
      for (const until of [3, 4, 5]) {
        const outputDir = fresh();
        const part = await run({ ...common, ...config }, { until, config: { outputDir } });
        const rest = await run({ ...common, ...config }, { config: { outputDir, resume: true } });
        expect(part.losses).toHaveLength(until);
        expect([...part.losses, ...rest.losses]).toEqual(whole.losses);
        expect(rest.trained).toEqual(whole.trained);
      }
    }
  });

  it("adds up micro-batches", async () => {
    const config = { rank: 16, updateProjGap: 100, scale: 1, rule: "sgd", svd: "exact" } as const;
    const options = { steps: 4, config: { accumulationSteps: 2, optimizer: "sgd", learningRate: 0.1 } } as const;
    const [plain, projected, reduced] = await Promise.all(
      [null, config, { ...config, layerwise: true }].map((galore) => run(galore, options)),
    );
    for (const { losses: ours } of [projected, reduced] as { losses: number[] }[])
      expect(ours).toBeAllClose(plain?.losses ?? [], { absolute: 0, relative: 1e-5 });
  });
});
