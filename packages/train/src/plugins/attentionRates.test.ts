import { parseConfig } from "@peftjs/core";
import type { ParameterGroup, SitePart, TrainableParameter } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { ofModel, onLayer } from "../../test/parameters.ts";
import { attentionRates } from "./attentionRates.ts";
import type { AttentionRatesConfig } from "./attentionRates.ts";
import { generalizationBound } from "./generalizationBound.ts";

const group = (parameter: TrainableParameter, config: Partial<AttentionRatesConfig> = {}): ParameterGroup =>
  attentionRates.parameterGroup!(parameter, parseConfig(attentionRates, config));
const rate = (parameter: TrainableParameter, config: Partial<AttentionRatesConfig> = {}): number =>
  group(parameter, config).lrScale ?? 1;

const roberta = (layer: string): string => `roberta.encoder.layer.0.attention.self.${layer}`;
const llama = (layer: string): string => `model.layers.0.self_attn.${layer}`;
const vector = { shape: [8] };

describe("attentionRates", () => {
  it("gives every tensor of a value projection λη, by the layer's role", () => {
    const families: readonly (readonly [string, string, string])[] = [
      [roberta("query"), roberta("key"), roberta("value")],
      [llama("q_proj"), llama("k_proj"), llama("v_proj")],
      [
        "distilbert.layer.0.attention.q_lin",
        "distilbert.layer.0.attention.k_lin",
        "distilbert.layer.0.attention.v_lin",
      ],
      [
        "encoder.block.0.layer.0.SelfAttention.q",
        "encoder.block.0.layer.0.SelfAttention.k",
        "encoder.block.0.layer.0.SelfAttention.v",
      ],
    ];
    for (const [query, key, value] of families) {
      for (const [name, given] of [
        ["a", {}],
        ["b", {}],
        ["magnitude", vector],
        ["values", vector],
      ] as const) {
        expect(rate(onLayer(query, name, given)), `${query}.${name}`).toBe(1);
        expect(rate(onLayer(key, name, given)), `${key}.${name}`).toBe(1);
        expect(rate(onLayer(value, name, given)), `${value}.${name}`).toBe(4);
      }
      expect(rate(onLayer(value, "weight", { base: true }))).toBe(4);
      expect(rate(onLayer(value, "bias", { base: true, ...vector }))).toBe(4);
      expect(rate(onLayer(query, "bias", { base: true, ...vector }))).toBe(1);
    }
    expect(rate(onLayer("deberta.encoder.layer.0.attention.self.pos_key_proj", "a", { role: "position" }))).toBe(1);
    expect(rate(onLayer("model.layers.0.mlp.value_gate", "a", { role: "ffnUp" }))).toBe(1);
    expect(rate(onLayer("roberta.encoder.layer.0.output.dense", "a"))).toBe(1);
    expect(rate(ofModel("roberta.encoder.layer.0.output.LayerNorm.weight", vector))).toBe(1);
  });

  it("gives the head its own factor", () => {
    const [weight, bias] = [
      ofModel("classifier.out_proj.weight", { head: true }),
      ofModel("classifier.out_proj.bias", { head: true, ...vector }),
    ];
    expect([rate(weight), rate(bias)]).toEqual([1, 1]);
    expect([weight, bias].map((parameter) => rate(parameter, { headLrFactor: 0.5 }))).toEqual([0.5, 0.5]);
    expect(rate(onLayer(roberta("value"), "a"), { headLrFactor: 0.5, lambda: 2 })).toBe(2);
  });

  it("leaves decay to the run, or decays matrices alone", () => {
    const [value, norm] = [
      onLayer(roberta("value"), "b"),
      ofModel("roberta.encoder.layer.0.output.LayerNorm.weight", vector),
    ];
    expect(group(value)).toEqual({ lrScale: 4 });
    expect(group(value, { weightDecay: 0.1 })).toEqual({ lrScale: 4, weightDecay: 0.1 });
    for (const undecayed of [
      norm,
      onLayer(roberta("value"), "magnitude", vector),
      onLayer(roberta("query"), "bias", vector),
    ])
      expect(group(undecayed, { weightDecay: 0.1 }).weightDecay).toBe(0);
  });

  it("has a peak rate for what a method puts on embeddings", () => {
    const embedding = onLayer("roberta.embeddings.word_embeddings", "embeddingA", {
      role: "embedding",
      site: { kind: "embedding" },
    });
    expect(group(embedding)).toEqual({});
    expect(group(embedding, { embeddingLr: 1e-6 })).toEqual({ learningRate: 1e-6 });
    expect(group({ ...embedding, name: null }, { embeddingLr: 1e-6 })).toEqual({});
  });

  it("refuses a ratio that is not positive", () => {
    for (const lambda of [0, -1, NaN])
      expect(() => parseConfig(attentionRates, { lambda })).toThrow(
        expect.objectContaining({ code: "CONFIG_INVALID" }) as Error,
      );
  });

  it("with λ = 1 says nothing that changes a group", () => {
    const parameters = [
      onLayer(roberta("value"), "a"),
      onLayer(roberta("value"), "magnitude", vector),
      ofModel("classifier.dense.bias", { head: true, ...vector }),
    ];
    for (const parameter of parameters) {
      const { lrScale = 1, ...rest } = group(parameter, { lambda: 1 });
      expect([lrScale, rest]).toEqual([1, {}]);
    }
  });
});

describe("legacyGrouping", () => {
  const legacy = { legacyGrouping: true, weightDecay: 0.1 };
  it("has the groups of the published code, with their defects", () => {
    const norm = ofModel("roberta.encoder.layer.0.output.LayerNorm.weight", vector);
    const rows: readonly (readonly [TrainableParameter, number, number])[] = [
      [onLayer(roberta("query"), "a"), 1, 0.1],
      [onLayer(roberta("key"), "a"), 1, 0.1],
      [onLayer(roberta("value"), "a"), 4, 0.1],
      [onLayer(roberta("query"), "bias", { base: true, ...vector }), 1, 0.1],
      [onLayer(roberta("value"), "bias", { base: true, ...vector }), 4, 0],
      [onLayer(roberta("value"), "magnitude", vector), 4, 0.1],
      [ofModel("classifier.dense.weight", { head: true }), 1, 0.1],
      [ofModel("classifier.dense.bias", { head: true, ...vector }), 4, 0],
      [onLayer(llama("q_proj"), "a"), 1, 0.1],
      [onLayer(llama("v_proj"), "a"), 4, 0.1],
      [onLayer(llama("q_proj"), "magnitude", vector), 4, 0.1],
      [onLayer(llama("k_proj"), "magnitude", vector), 4, 0.1],
      [onLayer(llama("k_proj"), "values", vector), 4, 0.1],
      [onLayer("distilbert.layer.0.attention.v_lin", "a"), 1, 0.1],
      [onLayer("roberta.encoder.layer.0.output.dense", "a"), 1, 0.1],
      [norm, 4, 0],
      [onLayer("transformer.h.0.self_attention.query_key_value", "a"), 1, 0.1],
    ];
    for (const [parameter, lrScale, weightDecay] of rows) {
      const found = group(parameter, legacy);
      expect([found.lrScale ?? 1, found.weightDecay], parameter.key).toEqual([lrScale, weightDecay]);
    }
  });

  it("differs from the groups by role where they mean something else", () => {
    const differing = [
      ofModel("classifier.dense.bias", { head: true, ...vector }),
      onLayer(llama("q_proj"), "magnitude", vector),
    ];
    for (const parameter of differing) expect([rate(parameter), rate(parameter, legacy)]).toEqual([1, 4]);
  });

  it("has no decay unless one is named, and a fixed rate on embeddings", () => {
    const embedding = onLayer("roberta.embeddings.word_embeddings", "embeddingA", {
      role: "embedding",
      site: { kind: "embedding" },
    });
    expect(group(onLayer(roberta("value"), "a"), { legacyGrouping: true }).weightDecay).toBe(0);
    expect(group(embedding, legacy)).toEqual({ learningRate: 1e-6, weightDecay: 0.1 });
  });

  it("does not take the adapter's name for a layer's", () => {
    const parameter = { ...onLayer(roberta("query"), "a"), key: `value.${roberta("query")}.a`, adapter: "value" };
    expect(rate(parameter, legacy)).toBe(1);
    const dense = { ...onLayer("encoder.output.dense", "a"), key: "value.encoder.output.dense.a", adapter: "value" };
    expect(rate(dense, legacy)).toBe(1);
  });
});

describe("fused layers", () => {
  const thirds: readonly SitePart[] = [
    { role: "query", from: 0, to: 2 },
    { role: "key", from: 2, to: 4 },
    { role: "value", from: 4, to: 6 },
  ];
  const fused = (name: string, shape: readonly number[], { base = false, parts = thirds, inFeatures = 2 } = {}) =>
    onLayer("h.0.attn.c_attn", name, {
      ...{ shape, base, role: "queryKeyValue" },
      site: { inFeatures, outFeatures: 6, layout: "in_out", parts },
    });
  const factors = (parameter: TrainableParameter, config: Partial<AttentionRatesConfig> = {}) => {
    const { lrScale, elementScale } = group(parameter, config);
    expect(lrScale).toBeUndefined();
    return elementScale === undefined ? null : { shape: elementScale.shape, data: Array.from(elementScale.data) };
  };

  it("λ on the outputs of values, and η on what they share", () => {
    const data = [1, 1, 1, 1, 4, 4];
    expect(factors(fused("b", [6, 3]))).toEqual({ shape: [6, 1], data });
    expect(factors(fused("a", [3, 2]))).toBeNull();
    expect(factors(fused("magnitude", [6]))).toEqual({ shape: [6], data });
    expect(factors(fused("weight", [2, 6], { base: true }))).toEqual({ shape: [1, 6], data });
    expect(factors(fused("bias", [6], { base: true }))).toEqual({ shape: [6], data });
  });

  it("nothing on keys that are not to learn, with heads one after another or interleaved", () => {
    const config = { lambda: 1, roles: ["query", "value"] };
    expect(factors(fused("b", [6, 3]), config)?.data).toEqual([1, 1, 0, 0, 1, 1]);
    const parts = [0, 3].flatMap((head) => thirds.map(({ role }, i) => ({ role, from: head + i, to: head + i + 1 })));
    expect(factors(fused("b", [6, 3], { parts }), { ...config, lambda: 8 })?.data).toEqual([1, 0, 8, 1, 0, 8]);
    expect(factors(fused("b", [6, 3]), { lambda: 1 })).toBeNull();
  });

  it("refuses to guess which axis of a parameter is that of the outputs", () => {
    const square = fused("r", [6, 6], { inFeatures: 6 });
    expect(() => group(square)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }) as Error);
    expect(factors(square, { lambda: 1 })).toBeNull();
    expect(factors(fused("weight", [6, 6], { base: true, inFeatures: 6 }))?.shape).toEqual([1, 6]);
  });
});

describe("generalizationBound", () => {
  it("has the values of the SST-2 example", () => {
    const bound = (matrices: number, rank = 8): number =>
      generalizationBound({
        ...{ parameters: 12 * matrices * rank * (768 + 768), bits: 32, samples: 67_349, subGaussian: 0.5 },
      });
    expect(bound(2)).toBeCloseTo(8.370293, 6);
    expect(bound(3)).toBeCloseTo(10.251473, 6);
    expect(bound(2) / bound(3)).toBeCloseTo(0.816496580928, 12);
    expect(bound(2, 12)).toBeCloseTo(bound(3, 8), 12);
  });
});
