import type { Architecture, Head, LayerSite, ParameterSpec, SiteRole } from "@peftjs/core";
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
  /** Whether the layers have biases; or those of them that have. */
  readonly biased: boolean | readonly string[];
}

/** What layers do, by name, or by the last component of it. */
const ROLES: Readonly<Record<string, SiteRole>> = {
  ...{ query: "query", q_proj: "query", query_proj: "query" },
  ...{ key: "key", k_proj: "key", key_proj: "key" },
  ...{ value: "value", v_proj: "value", value_proj: "value" },
  ...{ c_attn: "queryKeyValue", query_key_value: "queryKeyValue" },
  ...{ o_proj: "attentionOutput", out_proj: "attentionOutput" },
  ...{ "attn.c_proj": "attentionOutput", "attention.output.dense": "attentionOutput" },
  ...{ "attention.dense": "attentionOutput", "self_attention.dense": "attentionOutput" },
  ...{ up_proj: "ffnUp", c_fc: "ffnUp", "intermediate.dense": "ffnUp", dense_h_to_4h: "ffnUp", fc_in: "ffnUp" },
  ...{ fc1: "ffnUp", ffn: "ffnUp", gate_proj: "ffnGate" },
  ...{ down_proj: "ffnDown", "mlp.c_proj": "ffnDown", "output.dense": "ffnDown", dense_4h_to_h: "ffnDown" },
  ...{ fc_out: "ffnDown", fc2: "ffnDown", ffn_output: "ffnDown" },
};

function roleOf(name: string): SiteRole {
  return ROLES[name] ?? ROLES[name.slice(name.lastIndexOf(".") + 1)] ?? name;
}

function blockSites({ prefix, count, layers, layout = "out_in", biased }: Blocks): LayerSite[] {
  return Array.from({ length: count }, (_, block) =>
    Object.entries(layers).map(([name, [inFeatures, outFeatures]]): LayerSite => {
      const path = `${prefix}.${block}.${name}`;
      const bias = biased === true || (biased !== false && biased.includes(name)) ? `${path}.bias` : null;
      return linearSite({ path, role: roleOf(name), block, inFeatures, outFeatures, layout, bias });
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

function llamaLayers({ hidden, inner, keyValue = hidden }: LlamaSize): Layers {
  const square = [hidden, hidden] as const;
  return {
    ...{
      "self_attn.q_proj": square,
      "self_attn.k_proj": [hidden, keyValue],
      "self_attn.v_proj": [hidden, keyValue],
      "self_attn.o_proj": square,
    },
    ...{ "mlp.gate_proj": [hidden, inner], "mlp.up_proj": [hidden, inner], "mlp.down_proj": [inner, hidden] },
  };
}

interface LlamaSize {
  readonly hidden: number;
  readonly inner: number;
  readonly blocks: number;
  /** Outputs of keys and values, where several queries share them. Default: `hidden`. */
  readonly keyValue?: number;
  /** Default: 32,000. */
  readonly vocabulary?: number;
  /** The output layer is a layer to adapt, but not one of "all-linear". */
  readonly output?: boolean;
}

function llama(size: LlamaSize): Described {
  const { hidden, blocks, vocabulary = 32_000, output = false } = size;
  const layers = llamaLayers(size);
  const sites = blockSites({ prefix: "model.layers", count: blocks, layers, biased: false });
  const path = "lm_head";
  const lmHead = linearSite({ path, role: "output", inFeatures: hidden, outFeatures: vocabulary });
  const norm = (name: string) => ({ name: `model.${name}.weight`, shape: [hidden] });
  const blockNorms = Array.from({ length: blocks }, (_, block) =>
    ["input_layernorm", "post_attention_layernorm"].map((name) => norm(`layers.${block}.${name}`)),
  );
  return {
    modelType: "llama",
    sites: output ? [...sites, lmHead] : sites,
    defaultTargets: ["q_proj", "v_proj"],
    headModules: [],
    parameters: [...parametersOf([...sites, lmHead], vocabulary * hidden), ...blockNorms.flat(), norm("norm")],
  };
}

const llama7 = { hidden: 4096, inner: 11008, blocks: 32 };

/** Models of which only the layers of their blocks count. */
function blocksOf(modelType: string, defaultTargets: readonly string[], ...blocks: readonly Blocks[]): Described {
  const sites = blocks.flatMap(blockSites);
  return { modelType, sites, defaultTargets, headModules: [], parameters: parametersOf(sites, 0) };
}

/** The one block that all depths share. */
function albert(): Described {
  const square = [768, 768] as const;
  const layers: Layers = {
    ...{ "attention.query": square, "attention.key": square, "attention.value": square, "attention.dense": square },
    ...{ ffn: [768, 3072], ffn_output: [3072, 768] },
  };
  const prefix = "albert.encoder.albert_layer_groups.0.albert_layers";
  return blocksOf("albert", ["query", "value"], { prefix, count: 1, layers, biased: true });
}

function bartLarge(): Described {
  const square = [1024, 1024] as const;
  const attention = (name: string): Layers =>
    Object.fromEntries(["q", "k", "v", "out"].map((part) => [`${name}.${part}_proj`, square]));
  const ffn: Layers = { fc1: [1024, 4096], fc2: [4096, 1024] };
  const stack = (name: string, layers: Layers): Blocks => ({
    prefix: `model.${name}.layers`,
    count: 12,
    layers: { ...layers, ...ffn },
    biased: true,
  });
  const decoder = { ...attention("self_attn"), ...attention("encoder_attn") };
  return blocksOf("bart", ["q_proj", "v_proj"], stack("encoder", attention("self_attn")), stack("decoder", decoder));
}

function bloom7(): Described {
  const layers: Layers = {
    ...{ "self_attention.query_key_value": [4096, 12288], "self_attention.dense": [4096, 4096] },
    ...{ "mlp.dense_h_to_4h": [4096, 16384], "mlp.dense_4h_to_h": [16384, 4096] },
  };
  return blocksOf("bloom", ["query_key_value"], { prefix: "transformer.h", count: 30, layers, biased: true });
}

function gptJ6(): Described {
  const square = [4096, 4096] as const;
  const layers: Layers = {
    ...{ "attn.q_proj": square, "attn.k_proj": square, "attn.v_proj": square, "attn.out_proj": square },
    ...{ "mlp.fc_in": [4096, 16384], "mlp.fc_out": [16384, 4096] },
  };
  const biased = ["mlp.fc_in", "mlp.fc_out"];
  return blocksOf("gptj", ["q_proj", "v_proj"], { prefix: "transformer.h", count: 28, layers, biased });
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
  const prefix = "deberta.encoder.layer";
  return blocksOf("deberta-v2", ["query_proj", "value_proj"], { prefix, count: 12, layers, biased: true });
}

export const architectures = {
  "RoBERTa-base": encoder(roberta, { ...robertaShape, ...base }),
  "RoBERTa-large": encoder(roberta, { ...robertaShape, ...large }),
  "BERT-base": encoder(bert, { ...bertShape, ...base }),
  "LLaMA-7B": llama(llama7),
  "LLaMA-2-7B with its output layer": llama({ ...llama7, output: true }),
  "LLaMA-3-8B": llama({ hidden: 4096, inner: 14336, blocks: 32, keyValue: 1024, vocabulary: 128_256 }),
  "LLaMA-13B": llama({ hidden: 5120, inner: 13824, blocks: 40 }),
  "GPT-2": gpt2(),
  "DeBERTaV3-base": debertaV3(),
  "ALBERT-base": albert(),
  "BART-large": bartLarge(),
  "BLOOM-7B": bloom7(),
  "GPT-J-6B": gptJ6(),
} as const satisfies Record<string, Described>;
