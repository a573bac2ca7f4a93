import { peft } from "@peftjs/core";
import { full } from "@peftjs/method-classic";
import { fromConfig } from "@peftjs/models";
import { installMatchers } from "@peftjs/testkit";
import { describeOnEngines } from "@peftjs/testkit/conformance";
import { expect, it } from "vitest";
import { galore } from "../src/index.ts";
import type { GaloreConfig } from "../src/index.ts";
import { losses, referenceModel } from "./models.ts";
import type { RunOptions } from "./models.ts";

installMatchers();

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

  it("finds much the same bases from sketches, where whole gradients are too large", async () => {
    const sizes = { hidden_size: 80, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 96 };
    const shape = { model_type: "roberta", vocab_size: 60, max_position_embeddings: 24, ...sizes };
    const base = fromConfig(shape, { labels: ["a", "b", "c"], seed: 1 });
    const outcome = async (config: Partial<GaloreConfig>): Promise<readonly number[]> => {
      const model = await peft(base)
        .use(full, { targetModules: "all-linear" })
        .use(galore, { rank: 4, updateProjGap: 4, scale: 2, ...config })
        .apply();
      return losses(model, { engine: engine(), steps: 10 });
    };
    const [exact, sketched] = [await outcome({ svd: "exact" }), await outcome({ layerwise: true })];
    expect(sketched).toBeAllClose(exact, { absolute: 0, relative: 1e-3 });
    expect(exact.at(-1)).toBeLessThan(0.9 * (exact[0] as number));
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
