import { linearSite } from "@peftjs/testkit";
import { architectures, countTrainable } from "@peftjs/testkit/conformance";
import type { Count, Described } from "@peftjs/testkit/conformance";
import { describe, expect, it } from "vitest";
import { ia3 } from "../src/index.ts";
import type { Ia3Config } from "../src/index.ts";

type Layers = Readonly<Record<string, readonly [inFeatures: number, outFeatures: number]>>;

function described(modelType: string, blocks: Readonly<Record<string, readonly [count: number, Layers]>>): Described {
  const sites = Object.entries(blocks).flatMap(([prefix, [count, layers]]) =>
    Array.from({ length: count }, (_, block) =>
      Object.entries(layers).map(([name, [inFeatures, outFeatures]]) =>
        linearSite({ path: `${prefix}.${block}.${name}`, block, inFeatures, outFeatures }),
      ),
    ).flat(),
  );
  return { modelType, sites, defaultTargets: [], headModules: [], parameters: [] };
}

/** `keys`: outputs of the keys and of the values, fewer than the width where heads share them. */
function llama(
  blocks: number,
  { width, keys, inner }: Readonly<Record<"width" | "keys" | "inner", number>>,
): Described {
  const layers: Layers = {
    ...{ "self_attn.q_proj": [width, width], "self_attn.k_proj": [width, keys], "self_attn.v_proj": [width, keys] },
    ...{ "self_attn.o_proj": [width, width], "mlp.up_proj": [width, inner], "mlp.down_proj": [inner, width] },
  };
  return described("llama", { "model.layers": [blocks, layers] });
}

/** The 3B model of T0: 24 encoder and 24 decoder blocks, gated feed-forward layers. */
function t5(modelType: "t5" | "mt5"): Described {
  const square = [2048, 2048] as const;
  const attention = (name: string): Layers =>
    Object.fromEntries(["q", "k", "v", "o"].map((layer) => [`${name}.${layer}`, square]));
  const ffn = (index: number): Layers => ({
    [`layer.${index}.DenseReluDense.wi_0`]: [2048, 5120],
    [`layer.${index}.DenseReluDense.wi_1`]: [2048, 5120],
    [`layer.${index}.DenseReluDense.wo`]: [5120, 2048],
  });
  const decoder = { ...attention("layer.0.SelfAttention"), ...attention("layer.1.EncDecAttention"), ...ffn(2) };
  return described(modelType, {
    "encoder.block": [24, { ...attention("layer.0.SelfAttention"), ...ffn(1) }],
    "decoder.block": [24, decoder],
  });
}

const models = {
  ...architectures,
  "LLaMA-2-13B": llama(40, { width: 5120, keys: 5120, inner: 13_824 }),
  "LLaMA-2-70B": llama(80, { width: 8192, keys: 1024, inner: 28_672 }),
  "T0-3B": t5("t5"),
  "T0-3B, its vectors on the gate's other side": t5("mt5"),
};

/** Of the Python library and the papers. */
const rows: readonly (readonly [keyof typeof models, Partial<Ia3Config>, Partial<Count>])[] = [
  ["RoBERTa-base", {}, { targets: 48, adapter: 64_512, trainable: 656_642, all: 125_303_812 }],
  ["RoBERTa-base", { placement: "paper" }, { targets: 36, adapter: 55_296, trainable: 647_426 }],
  ["RoBERTa-large", {}, { adapter: 172_032 }],
  ["BERT-base", {}, { adapter: 64_512 }],
  ["BERT-base", { placement: "paper" }, { adapter: 55_296 }],
  ["LLaMA-7B", {}, { targets: 96, adapter: 614_400 }],
  ["LLaMA-2-13B", {}, { adapter: 962_560 }],
  ["LLaMA-2-70B", {}, { adapter: 2_457_600 }],
  ["GPT-2", {}, { targets: 24, adapter: 64_512, all: 124_439_808 + 64_512 }],
  ["T0-3B", {}, { adapter: 540_672 }],
  ["T0-3B, its vectors on the gate's other side", {}, { adapter: 540_672 }],
];

describe("parameter counts", () => {
  it.each(rows)("%s %j", (name, settings, expected) => {
    expect(countTrainable(ia3, settings, models[name])).toMatchObject(expected);
  });
});
