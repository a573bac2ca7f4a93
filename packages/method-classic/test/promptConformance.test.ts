import { PROMPT } from "@peftjs/core";
import type { LayerSite } from "@peftjs/core";
import { architectures, countTrainable, describeMethod, type Described } from "@peftjs/testkit/conformance";
import { describe, expect, it } from "vitest";
import { prefixTuning, promptTuning, pTuning } from "../src/index.ts";

const golden = (name: string): URL => new URL(`golden/${name}.json`, import.meta.url);
// The tiny models have places for ten positions, and batches of six tokens; two adapters are active at once.
const few = { numVirtualTokens: 2 };

describeMethod(promptTuning, {
  golden: golden("promptTuning"),
  counts: { "RoBERTa-base": 15_360, "RoBERTa-large": 20_480, "BERT-base": 15_360 },
  cases: [
    { name: "random", config: few },
    { name: "text", config: { ...few, promptTuningInit: "TEXT", initTokenIds: [7, 9] } },
  ],
});

describeMethod(prefixTuning, {
  golden: golden("prefixTuning"),
  counts: { "RoBERTa-base": 368_640, "RoBERTa-large": 983_040, "BERT-base": 368_640 },
  cases: [
    { name: "table", config: few },
    { name: "projected", config: { ...few, prefixProjection: true, encoderHiddenSize: 5 } },
  ],
});

describeMethod(pTuning, {
  golden: golden("pTuning"),
  // n·H + 3·(H² + H) with h = H.
  counts: { "RoBERTa-base": 15_360 + 3 * (768 * 768 + 768), "BERT-base": 15_360 + 3 * (768 * 768 + 768) },
  cases: [{ name: "mlp", config: { ...few, encoderHiddenSize: 5 } }],
});

/** A model as far as virtual tokens see it. */
function described({ hidden, blocks, heads }: { hidden: number; blocks: number; heads: number }): Described {
  const site: LayerSite = {
    ...{ path: PROMPT, kind: "prompt", role: PROMPT, block: null, inFeatures: 100, outFeatures: hidden },
    ...{ layout: "in_out", weight: "words.weight", bias: null },
    prompt: { blocks, heads, keyValueHeads: heads, keyValueFeatures: hidden },
  };
  return { modelType: "any", sites: [site], defaultTargets: [], headModules: [], parameters: [] };
}

describe("published counts", () => {
  const roberta = architectures["RoBERTa-base"];

  it.each([
    [20, 128, 229_376],
    [100, 128, 290_816],
  ])("p-tuning with %i tokens and h = %i", (numVirtualTokens, encoderHiddenSize, count) => {
    expect(countTrainable(pTuning, { numVirtualTokens, encoderHiddenSize }, roberta).adapter).toBe(count);
  });

  it("p-tuning with d = h = 3072", () => {
    const model = described({ hidden: 3072, blocks: 30, heads: 32 });
    expect(countTrainable(pTuning, { encoderHiddenSize: 3072 }, model).adapter).toBe(28_382_208);
  });

  it("prefix tuning of LLaMA-7B with 5 tokens", () => {
    const model = described({ hidden: 4096, blocks: 32, heads: 32 });
    expect(countTrainable(prefixTuning, { numVirtualTokens: 5 }, model).adapter).toBe(1_310_720);
  });

  it("prompt tuning with 10 tokens, head included", () => {
    const { adapter, trainable } = countTrainable(promptTuning, { numVirtualTokens: 10 }, roberta);
    expect([adapter, trainable]).toEqual([7_680, 7_680 + 592_130]);
  });
});
