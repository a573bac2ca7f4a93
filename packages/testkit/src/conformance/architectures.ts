import type { Architecture, Head, LayerSite, ParameterSpec } from "@peftjs/core";
import { bert, roberta } from "@peftjs/models";
import { linearSite } from "../sites.ts";

/** A model as counting sees it: layers and parameters without values. */
export interface Described {
  readonly modelType: string;
  readonly sites: readonly LayerSite[];
  readonly defaultTargets: readonly string[];
  readonly headModules: readonly string[];
  readonly parameters: readonly Pick<ParameterSpec, "name" | "shape">[];
}

const head: Head = { kind: "sequenceClassification", labels: ["a", "b"] };
const base = { hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12, intermediate_size: 3072 };
const large = { hidden_size: 1024, num_hidden_layers: 24, num_attention_heads: 16, intermediate_size: 4096 };
const robertaShape = { model_type: "roberta", vocab_size: 50265, max_position_embeddings: 514, type_vocab_size: 1 };
const bertShape = { model_type: "bert", vocab_size: 30522, max_position_embeddings: 512, type_vocab_size: 2 };

/** A classifier with two labels. */
function encoder<Config>(architecture: Architecture<Config>, json: object): Described {
  const config = architecture.parseConfig(json);
  return {
    modelType: architecture.modelType,
    sites: architecture.sites(config, head),
    defaultTargets: architecture.defaultTargets,
    headModules: architecture.headModules(config, head),
    parameters: architecture.parameters(config, head).filter(({ tiedTo }) => tiedTo === undefined),
  };
}

type Layers = Readonly<Record<string, readonly [inFeatures: number, outFeatures: number]>>;

interface Blocks {
  readonly prefix: string;
  readonly count: number;
  readonly layers: Layers;
  readonly layout?: LayerSite["layout"];
  readonly biased: boolean;
}

function blockSites({ prefix, count, layers, layout = "out_in", biased }: Blocks): LayerSite[] {
  return Array.from({ length: count }, (_, block) =>
    Object.entries(layers).map(([name, [inFeatures, outFeatures]]): LayerSite => {
      const path = `${prefix}.${block}.${name}`;
      const bias = biased ? `${path}.bias` : null;
      return linearSite({ path, role: name, block, inFeatures, outFeatures, layout, bias });
    }),
  ).flat();
}

/** Weights and biases of the layers, and one number for everything else. */
function parametersOf(sites: readonly LayerSite[], others: number): Described["parameters"] {
  const layers = sites.flatMap(({ weight, bias, inFeatures, outFeatures }) => [
    { name: weight, shape: [inFeatures, outFeatures] },
    ...(bias === null ? [] : [{ name: bias, shape: [outFeatures] }]),
  ]);
  return [...layers, { name: "others", shape: [others] }];
}

const llamaLayers: Layers = {
  "self_attn.q_proj": [4096, 4096],
  "self_attn.k_proj": [4096, 4096],
  "self_attn.v_proj": [4096, 4096],
  "self_attn.o_proj": [4096, 4096],
  "mlp.gate_proj": [4096, 11008],
  "mlp.up_proj": [4096, 11008],
  "mlp.down_proj": [11008, 4096],
};

/** LLaMA-7B and LLaMA-2-7B. The output layer is a layer to adapt, but not one of "all-linear". */
function llama({ output }: { readonly output: boolean }): Described {
  const blocks = blockSites({ prefix: "model.layers", count: 32, layers: llamaLayers, biased: false });
  const lmHead: LayerSite = {
    ...blocks[0]!,
    path: "lm_head",
    role: "output",
    outFeatures: 32000,
    weight: "lm_head.weight",
  };
  const norms = 65 * 4096;
  return {
    modelType: "llama",
    sites: output ? [...blocks, lmHead] : blocks,
    defaultTargets: ["q_proj", "v_proj"],
    headModules: [],
    parameters: parametersOf([...blocks, lmHead], 32000 * 4096 + norms),
  };
}

function gpt2(): Described {
  const layers: Layers = {
    "attn.c_attn": [768, 2304],
    "attn.c_proj": [768, 768],
    "mlp.c_fc": [768, 3072],
    "mlp.c_proj": [3072, 768],
  };
  const sites = blockSites({ prefix: "transformer.h", count: 12, layers, layout: "in_out", biased: true });
  const tables = (50257 + 1024) * 768;
  const norms = 25 * 2 * 768;
  return {
    modelType: "gpt2",
    sites,
    defaultTargets: ["c_attn"],
    headModules: [],
    parameters: parametersOf(sites, tables + norms),
  };
}

function debertaV3(): Described {
  const square = [768, 768] as const;
  const layers: Layers = {
    "attention.self.query_proj": square,
    "attention.self.key_proj": square,
    "attention.self.value_proj": square,
    "attention.output.dense": square,
    "intermediate.dense": [768, 3072],
    "output.dense": [3072, 768],
  };
  const sites = blockSites({ prefix: "deberta.encoder.layer", count: 12, layers, biased: true });
  return {
    modelType: "deberta-v2",
    sites,
    defaultTargets: ["query_proj", "value_proj"],
    headModules: [],
    parameters: parametersOf(sites, 0),
  };
}

export const architectures = {
  "RoBERTa-base": encoder(roberta, { ...robertaShape, ...base }),
  "RoBERTa-large": encoder(roberta, { ...robertaShape, ...large }),
  "BERT-base": encoder(bert, { ...bertShape, ...base }),
  "LLaMA-7B": llama({ output: false }),
  "LLaMA-2-7B with its output layer": llama({ output: true }),
  "GPT-2": gpt2(),
  "DeBERTaV3-base": debertaV3(),
} as const satisfies Record<string, Described>;
