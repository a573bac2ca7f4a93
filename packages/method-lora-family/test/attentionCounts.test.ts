import type { Method } from "@peftjs/core";
import { linearSite } from "@peftjs/testkit";
import { architectures, countTrainable } from "@peftjs/testkit/conformance";
import type { Described } from "@peftjs/testkit/conformance";
import { describe, expect, it } from "vitest";
import { adalora, dora, eva, lora, olora, pissa, rslora } from "../src/index.ts";

/** Keys and values of eight heads, which groups of queries share. */
function llama31(): Described {
  const layers = { q_proj: 4096, k_proj: 1024, v_proj: 1024, o_proj: 4096 };
  const sites = Array.from({ length: 32 }, (_, block) =>
    Object.entries(layers).map(([name, outFeatures]) =>
      linearSite({ path: `model.layers.${block}.self_attn.${name}`, block, inFeatures: 4096, outFeatures }),
    ),
  ).flat();
  const parameters = [{ name: "score.weight", shape: [3, 4096] }];
  return { modelType: "llama", sites, defaultTargets: ["q_proj", "v_proj"], headModules: ["score"], parameters };
}

const models = { ...architectures, "LLaMA-3.1-8B": llama31() };
const [qv, qkv] = [{ targetModules: ["query", "value"] }, { targetModules: ["query", "key", "value"] }];

type Row = readonly [name: keyof typeof models, config: object, adapter: number, head: number];
const HEAD = 592_130;
const like = (method: unknown): Method<never> => method as Method<never>;

/** What is trained when attention is adapted with and without its keys, the head left out, and the head. */
const rows: Readonly<Record<string, readonly [Method<never>, readonly Row[]]>> = {
  lora: [
    like(lora),
    [
      ["RoBERTa-base", { ...qv, rank: 8 }, 294_912, HEAD],
      ["RoBERTa-base", { ...qv, rank: 16 }, 589_824, HEAD],
      ["RoBERTa-base", { ...qkv, rank: 8 }, 442_368, HEAD],
      ["RoBERTa-base", { ...qkv, rank: 16 }, 884_736, HEAD],
      ["RoBERTa-large", { ...qv, rank: 8 }, 786_432, 1_051_650],
      ["LLaMA-3.1-8B", { rank: 16 }, 6_815_744, 12_288],
      ["LLaMA-3.1-8B", { rank: 16, targetModules: ["q_proj", "k_proj", "v_proj"] }, 9_437_184, 12_288],
    ],
  ],
  rslora: [like(rslora), [["RoBERTa-base", { ...qv, rank: 8 }, 294_912, HEAD]]],
  pissa: [like(pissa), [["RoBERTa-base", { ...qv, rank: 8 }, 294_912, HEAD]]],
  olora: [like(olora), [["RoBERTa-base", { ...qv, rank: 8 }, 294_912, HEAD]]],
  eva: [like(eva), [["RoBERTa-base", { ...qv, rank: 8 }, 294_912, HEAD]]],
  dora: [
    like(dora),
    [
      ["RoBERTa-base", { ...qv, rank: 8 }, 313_344, HEAD],
      ["RoBERTa-base", { ...qv, rank: 16 }, 608_256, HEAD],
      ["RoBERTa-base", { ...qkv, rank: 8 }, 470_016, HEAD],
      ["RoBERTa-base", { ...qkv, rank: 16 }, 912_384, HEAD],
    ],
  ],
  adalora: [
    like(adalora),
    [
      ["RoBERTa-base", { ...qv, initRank: 24 }, 885_312, HEAD],
      ["RoBERTa-base", { ...qkv, initRank: 24 }, 1_327_968, HEAD],
    ],
  ],
};

describe.each(Object.entries(rows))("attention with %s", (_, [method, cases]) => {
  it.each(cases)("%s %j: %i and a head of %i", (name, settings, adapter, head) => {
    const expected = { adapter, trainable: adapter + head };
    expect(countTrainable(method, settings as never, models[name])).toMatchObject(expected);
  });
});
