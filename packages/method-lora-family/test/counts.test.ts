import { resolveTargets } from "@peftjs/core";
import type { Architecture, Head } from "@peftjs/core";
import { bert, countParameters, roberta } from "@peftjs/models";
import { describe, expect, it } from "vitest";
import { lora, LoraConfig } from "../src/index.ts";

const head: Head = { kind: "sequenceClassification", labels: ["a", "b"] };
const base = { hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12, intermediate_size: 3072 };
const large = { hidden_size: 1024, num_hidden_layers: 24, num_attention_heads: 16, intermediate_size: 4096 };
const models = {
  "RoBERTa-base": [
    roberta,
    { model_type: "roberta", vocab_size: 50265, max_position_embeddings: 514, type_vocab_size: 1, ...base },
  ],
  "RoBERTa-large": [
    roberta,
    { model_type: "roberta", vocab_size: 50265, max_position_embeddings: 514, type_vocab_size: 1, ...large },
  ],
  "BERT-base": [
    bert,
    { model_type: "bert", vocab_size: 30522, max_position_embeddings: 512, type_vocab_size: 2, ...base },
  ],
} as const;

/** Parameters of A and B over the targeted layers, of everything that learns, and of everything: from shapes alone. */
function count([architecture, json]: readonly [Architecture<never>, object], settings: Partial<LoraConfig>) {
  const config = architecture.parseConfig(json);
  const rules = LoraConfig.parse(settings);
  const context = {
    sites: architecture.sites(config, head),
    defaultTargets: architecture.defaultTargets,
    headModules: architecture.headModules(config, head),
  };
  const targets = resolveTargets(rules, context);
  const adapter = targets.reduce((sum, site) => sum + rules.rank * (site.inFeatures + site.outFeatures), 0);
  const specs = architecture.parameters(config, head);
  const own = specs.filter(({ name }) => context.headModules.some((module) => name.startsWith(`${module}.`)));
  const biases = specs.filter(
    (spec) => !own.includes(spec) && lora.trains!({ name: spec.name, targets, config: rules }),
  );
  const trainable = adapter + countParameters(own) + countParameters(biases);
  return { targets: targets.length, adapter, trainable, all: countParameters(specs) + adapter + countParameters(own) };
}

describe("parameter counts of the Python library", () => {
  it.each([
    ["RoBERTa-base", {}, { targets: 24, adapter: 294_912, trainable: 887_042, all: 125_534_212 }],
    [
      "RoBERTa-base",
      { targetModules: "all-linear" },
      { targets: 72, adapter: 1_327_104, trainable: 1_919_234, all: 126_566_404 },
    ],
    ["RoBERTa-base", { bias: "all" }, { trainable: 989_186 }],
    ["RoBERTa-base", { bias: "lora_only" }, { trainable: 905_474 }],
    ["RoBERTa-base", { targetModules: ["dense"] }, { targets: 36 }],
    ["RoBERTa-base", { targetModules: ".*layer\\.(0|1)\\..*query" }, { targets: 2 }],
    ["RoBERTa-base", { targetModules: ["query", "value"], layersToTransform: [0, 11] }, { targets: 4 }],
    ["RoBERTa-large", {}, { adapter: 786_432, trainable: 1_838_082, all: 357_199_876 }],
    ["RoBERTa-large", { targetModules: "all-linear" }, { adapter: 3_538_944 }],
    ["BERT-base", {}, { adapter: 294_912, trainable: 296_450, all: 109_780_228 }],
    ["BERT-base", { targetModules: "all-linear" }, { adapter: 1_339_392 }],
  ] as const)("%s %j", (name, settings, expected) => {
    expect(count(models[name] as unknown as readonly [Architecture<never>, object], settings)).toMatchObject(expected);
  });
});
