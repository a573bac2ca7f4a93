import type { Architecture, Forward, Head } from "@peftjs/core";
import { beforeAll, describe, expect, it } from "vitest";
import { bert, countParameters, fromConfig, roberta, robertaPreLayerNorm, xlmRoberta } from "../src/index.ts";
import { startCpu } from "./support/backend.ts";
import { bertEnc, inputE1, inputE2, preNormEnc, robertaEnc } from "./support/inputs.ts";
import { asTensors, plainForward } from "./support/plainForward.ts";

beforeAll(startCpu);

const classes = (n: number): Head => ({
  kind: "sequenceClassification",
  labels: Array.from({ length: n }, (_, i) => String(i)),
});
const base = { hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12, intermediate_size: 3072 };
const large = { hidden_size: 1024, num_hidden_layers: 24, num_attention_heads: 16, intermediate_size: 4096 };
const robertaFile = { max_position_embeddings: 514, type_vocab_size: 1 };

/** Columns: bare with pooler, one label, two, three, masked LM. */
const known: readonly [string, Architecture, object, readonly [number, number, number, number, number]][] = [
  ["bert-base-uncased", bert, base, [109_482_240, 109_483_009, 109_483_778, 109_484_547, 109_514_298]],
  [
    "bert-base-cased",
    bert,
    { ...base, vocab_size: 28996 },
    [108_310_272, 108_311_041, 108_311_810, 108_312_579, 108_340_804],
  ],
  ["bert-large-uncased", bert, large, [335_141_888, 335_142_913, 335_143_938, 335_144_963, 335_174_458]],
  [
    "roberta-base",
    roberta,
    { ...base, ...robertaFile },
    [124_645_632, 124_646_401, 124_647_170, 124_647_939, 124_697_433],
  ],
  [
    "roberta-large",
    roberta,
    { ...large, ...robertaFile },
    [355_359_744, 355_360_769, 355_361_794, 355_362_819, 355_412_057],
  ],
];

describe("parameter counts from shapes alone", () => {
  it.each(known)("%s", (_name, architecture, json, expected) => {
    const config = architecture.parseConfig(json);
    const heads: Head[] = [{ kind: "none" }, { kind: "regression" }, classes(2), classes(3), { kind: "maskedLM" }];
    expect(heads.map((head) => countParameters(architecture.parameters(config, head)))).toEqual(expected);
  });

  it("the trunk without pooler", () => {
    const specs = bert.parameters(bert.parseConfig(base), { kind: "none" });
    expect(countParameters(specs.filter(({ name }) => !name.startsWith("pooler.")))).toBe(108_891_648);
  });

  it("a rank-8 pair of matrices on the default targets, and the head", () => {
    const rank8 = (architecture: Architecture, json: object): number => {
      const sites = architecture.sites(architecture.parseConfig(json), classes(2));
      const targets = sites.filter(({ path }) =>
        architecture.defaultTargets.some((target) => path.endsWith(`.${target}`)),
      );
      return targets.reduce((sum, site) => sum + 8 * (site.inFeatures + site.outFeatures), 0);
    };
    expect(rank8(bert, base)).toBe(294_912);
    expect(rank8(roberta, { ...base, ...robertaFile })).toBe(294_912);
    expect(rank8(roberta, { ...large, ...robertaFile })).toBe(786_432);
    const config = roberta.parseConfig({ ...base, ...robertaFile });
    const head = roberta.parameters(config, classes(2)).filter(({ name }) => name.startsWith("classifier."));
    expect(countParameters(head)).toBe(592_130);
  });
});

describe("sites", () => {
  it("name role and block of every linear layer", () => {
    const sites = bert.sites(bert.parseConfig(bertEnc), classes(3));
    expect(
      sites
        .filter(({ block }) => block === 1)
        .map(({ path, role }) => [path.replace("bert.encoder.layer.1.", ""), role]),
    ).toEqual([
      ["attention.self.query", "query"],
      ["attention.self.key", "key"],
      ["attention.self.value", "value"],
      ["attention.output.dense", "attentionOutput"],
      ["intermediate.dense", "ffnUp"],
      ["output.dense", "ffnDown"],
    ]);
    expect(sites.filter(({ block }) => block === null).map(({ path, role, kind }) => [path, role, kind])).toEqual([
      ["prompt", "prompt", "prompt"],
      ["bert.embeddings.word_embeddings", "embedding", "embedding"],
      ["bert.pooler.dense", "pooler", "linear"],
      ["classifier", "classifier", "linear"],
    ]);
  });

  it("have their weight and bias among the parameters", () => {
    for (const architecture of [bert, roberta, xlmRoberta, robertaPreLayerNorm]) {
      for (const head of [classes(3), { kind: "regression" }, { kind: "maskedLM" }, { kind: "none" }] as const) {
        const config = architecture.parseConfig(bertEnc);
        const shapes = new Map(architecture.parameters(config, head).map((spec) => [spec.name, spec.shape]));
        for (const site of architecture.sites(config, head)) {
          const expected =
            site.layout === "out_in" ? [site.outFeatures, site.inFeatures] : [site.inFeatures, site.outFeatures];
          expect(shapes.get(site.weight), site.path).toEqual(expected);
          if (site.bias !== null) expect(shapes.get(site.bias), site.path).toEqual([site.outFeatures]);
        }
      }
    }
  });

  it("the head is what is trained with every adapter", () => {
    expect(bert.headModules(bert.parseConfig(bertEnc), classes(2))).toEqual(["classifier"]);
    expect(roberta.headModules(roberta.parseConfig(robertaEnc), { kind: "regression" })).toEqual(["classifier"]);
    expect(roberta.headModules(roberta.parseConfig(robertaEnc), { kind: "maskedLM" })).toEqual([]);
  });
});

describe("dropout sites", () => {
  const rates = { hidden_dropout_prob: 0.1, attention_probs_dropout_prob: 0.2, classifier_dropout: 0.3 };
  const block = [0.2, 0.1, 0.1];
  it.each([
    ["bert", bertEnc, inputE1, [0.3]],
    ["roberta", robertaEnc, inputE2, [0.3, 0.3]],
    ["roberta-prelayernorm", preNormEnc, inputE2, [0.3, 0.3]],
  ] as const)("%s: embeddings, probabilities, both block outputs, classifier", (_name, json, input, classifier) => {
    const model = fromConfig({ ...json, ...rates }, { labels: ["a", "b"] });
    const seen: number[] = [];
    const plain = plainForward(asTensors(model), model.sites);
    const f: Forward = {
      ...plain,
      training: true,
      dropout: (x, rate) => (seen.push(rate), x),
      attention: (inputs, options) => (seen.push(options.dropout), plain.attention(inputs, options)),
    };
    model.forward(f, input());
    expect(seen).toEqual([0.1, ...block, ...block, ...classifier]);
  });
});

describe("config.json", () => {
  it("takes the class's defaults for what is absent or null", () => {
    expect(roberta.parseConfig({ pad_token_id: null, unheard_of: 1 })).toMatchObject({
      vocabSize: 50265,
      padTokenId: 1,
      layerNormEps: 1e-12,
      classifierDropout: null,
    });
    expect(bert.parseConfig({})).toMatchObject({
      vocabSize: 30522,
      padTokenId: 0,
      hiddenSize: 768,
      maxPositionEmbeddings: 512,
    });
  });

  it.each([
    [{ hidden_size: 10, num_attention_heads: 3 }, /multiple/u],
    [{ position_embedding_type: "relative_key_query" }, /absolute/u],
    [{ hidden_act: "softsign" }, /softsign/u],
    [{ is_decoder: true }, /decoder/u],
    [{ vocab_size: -1 }, /vocab_size/u],
    [{ vocab_size: 4, pad_token_id: 4 }, /pad_token_id/u],
    ["text", /object/u],
  ])("refuses %j", (json, message) => expect(() => bert.parseConfig(json)).toThrow(message));

  it("refuses more tokens than positions", () => {
    const model = fromConfig({ ...robertaEnc, max_position_embeddings: 7 }, { labels: ["a", "b"] });
    expect(() => model.forward(plainForward(asTensors(model), model.sites), inputE2())).toThrow(/positions for 5/u);
  });
});
