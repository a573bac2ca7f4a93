import { crossEntropy, geluTanh, layerNorm } from "@peftjs/core";
import type {
  Architecture,
  BaseModel,
  Forward,
  LayerSite,
  Named,
  ParameterSpec,
  SiteNorm,
  SiteRole,
} from "@peftjs/core";
import { architectureRegistry, fromConfig } from "@peftjs/models";
import * as tf from "@tensorflow/tfjs-core";
import type { Case } from "./cases.ts";
import { frozenOption } from "./frozen.ts";

interface DecoderConfig {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly vocabulary: number;
  readonly positions: number;
}

const EPSILON = 1e-5;
const BLOCKED = -1e9;

/** The linear layers of a block: what comes in and goes out, as multiples of the width. Stored [in, out] (Conv1D). */
const LAYERS: readonly { name: string; role: SiteRole; into: number; out: number; norm?: string }[] = [
  { name: "attn.c_attn", role: "queryKeyValue", into: 1, out: 3, norm: "ln_1" },
  { name: "attn.c_proj", role: "attentionOutput", into: 1, out: 1 },
  { name: "mlp.c_fc", role: "ffnUp", into: 1, out: 4, norm: "ln_2" },
  { name: "mlp.c_proj", role: "ffnDown", into: 4, out: 1 },
];

/** GPT-2 (Radford et al. 2019) with random weights, without dropout; its loss is that of `next_ids` and `next_weights`. */
export function decoderModel({ layers, hidden, heads, vocabulary, frozen }: Case): BaseModel {
  const config = {
    model_type: "gpt2",
    n_layer: layers,
    n_embd: hidden,
    n_head: heads,
    vocab_size: vocabulary,
    n_positions: 1024,
  };
  const architectures = architectureRegistry(gpt2);
  const base = fromConfig(config, { head: "none", seed: 1, architectures, frozen: frozenOption(frozen) });
  return { ...base, loss: nextTokenLoss };
}

const gpt2: Architecture<DecoderConfig> = {
  modelType: "gpt2",
  basePrefix: "transformer",
  defaultTargets: ["c_attn"],
  parseConfig: (json) => {
    const found = json as Readonly<Record<string, number>>;
    const read = (name: string): number => found[name] as number;
    return {
      layers: read("n_layer"),
      hidden: read("n_embd"),
      heads: read("n_head"),
      vocabulary: read("vocab_size"),
      positions: read("n_positions"),
    };
  },
  parameters,
  sites,
  headModules: () => [],
  forward,
};

function parameters({ layers, hidden, vocabulary, positions }: DecoderConfig): ParameterSpec[] {
  const normal = (name: string, shape: readonly number[]): ParameterSpec => ({
    name,
    shape,
    init: { kind: "normal", std: 0.02 },
  });
  const norm = (path: string): ParameterSpec[] => [
    { name: `${path}.weight`, shape: [hidden], init: { kind: "ones" } },
    { name: `${path}.bias`, shape: [hidden], init: { kind: "zeros" } },
  ];
  const block = (path: string): ParameterSpec[] => [
    ...norm(`${path}.ln_1`),
    ...norm(`${path}.ln_2`),
    ...LAYERS.flatMap(({ name, into, out }): ParameterSpec[] => [
      normal(`${path}.${name}.weight`, [into * hidden, out * hidden]),
      { name: `${path}.${name}.bias`, shape: [out * hidden], init: { kind: "zeros" } },
    ]),
  ];
  return [
    normal("transformer.wte.weight", [vocabulary, hidden]),
    normal("transformer.wpe.weight", [positions, hidden]),
    ...Array.from({ length: layers }, (_, i) => block(`transformer.h.${i}`)).flat(),
    ...norm("transformer.ln_f"),
  ];
}

function sites({ layers, hidden, vocabulary }: DecoderConfig): LayerSite[] {
  const common = { layout: "in_out", bias: null } as const;
  const words = { path: "transformer.wte", weight: "transformer.wte.weight", kind: "embedding", block: null } as const;
  const table = { ...common, ...words, role: "embedding", inFeatures: vocabulary, outFeatures: hidden };
  const linear = Array.from({ length: layers }, (_, block) =>
    LAYERS.map(({ name, role, into, out, norm }): LayerSite => {
      const path = `transformer.h.${block}.${name}`;
      const read = norm === undefined ? {} : { norm: normNames(`transformer.h.${block}.${norm}`) };
      const size = { inFeatures: into * hidden, outFeatures: out * hidden };
      return {
        ...common,
        ...size,
        ...read,
        path,
        kind: "linear",
        role,
        block,
        weight: `${path}.weight`,
        bias: `${path}.bias`,
      };
    }),
  );
  return [table, ...linear.flat()];
}

function normNames(path: string): SiteNorm {
  return { weight: `${path}.weight`, bias: `${path}.bias` };
}

/** The blocks between embeddings and logits = LN(x)·Eᵀ, with E the table of words. */
function forward(f: Forward, config: DecoderConfig, _head: unknown, batch: Named<tf.Tensor>): Named<tf.Tensor> {
  const { layers, hidden } = config;
  const ids = batch["input_ids"] as tf.Tensor2D;
  const [rows, length] = ids.shape;
  const positions = tf.slice(f.parameter("transformer.wpe.weight") as tf.Tensor2D, [0, 0], [length, hidden]);
  const mask = causalBias(length);
  let x: tf.Tensor = tf.reshape(tf.add(f.embedding("transformer.wte", ids), positions), [rows * length, hidden]);
  for (let i = 0; i < layers; i++) {
    const path = `transformer.h.${i}`;
    const run = (...[states, bias]: tf.Tensor[]): tf.Tensor =>
      block(f, path, { x: states as tf.Tensor, bias: bias as tf.Tensor }, { ...config, rows, length });
    x = f.block(path, [x, mask], run);
  }
  const last = norm(f, "transformer.ln_f", x) as tf.Tensor2D;
  return { logits: tf.matMul(last, f.parameter("transformer.wte.weight") as tf.Tensor2D, false, true) };
}

interface BlockInput {
  /** [B·T, H] */
  readonly x: tf.Tensor;
  /** [1, 1, T, T] */
  readonly bias: tf.Tensor;
}

type BlockSpec = DecoderConfig & { readonly rows: number; readonly length: number };

/** Pre-LN: x = x + O(Attn(LN(x))); x = x + W₂·gelu(W₁·LN(x)). [B·T, H] → [B·T, H]. */
function block(f: Forward, path: string, { x, bias }: BlockInput, spec: BlockSpec): tf.Tensor {
  const context = attend(f, `${path}.attn`, { x: norm(f, `${path}.ln_1`, x), bias }, spec);
  const middle = tf.add(x, f.linear(`${path}.attn.c_proj`, context));
  const inner = geluTanh(f.linear(`${path}.mlp.c_fc`, norm(f, `${path}.ln_2`, middle)));
  return tf.add(middle, f.linear(`${path}.mlp.c_proj`, inner));
}

/** softmax(Q·Kᵀ/√d + bias)·V with [Q K V] = x·W + b: [B·T, H] → [B·T, H]. */
function attend(f: Forward, path: string, { x, bias }: BlockInput, spec: BlockSpec): tf.Tensor {
  const { rows, length, heads, hidden } = spec;
  const size = hidden / heads;
  const split = (part: tf.Tensor): tf.Tensor4D =>
    tf.transpose(tf.reshape(part, [rows, length, heads, size]), [0, 2, 1, 3]);
  const parts = tf.split(f.linear(`${path}.c_attn`, x), 3, 1).map(split);
  const [query, key, value] = parts as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
  const context = f.attention({ query, key, value }, { scale: 1 / Math.sqrt(size), bias, dropout: 0 });
  return tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [rows * length, hidden]);
}

/** −1e9 where the key comes after the query, else 0: [1, 1, T, T]. */
function causalBias(length: number): tf.Tensor {
  const position = tf.range(0, length);
  const later = tf.greater(tf.reshape(position, [1, length]), tf.reshape(position, [length, 1]));
  return tf.reshape(tf.mul(tf.cast(later, "float32"), BLOCKED), [1, 1, length, length]);
}

function norm(f: Forward, path: string, x: tf.Tensor): tf.Tensor {
  return layerNorm(x, f.parameter(`${path}.weight`), f.parameter(`${path}.bias`), EPSILON);
}

/** Cross-entropy of logits [B·T, V] for `next_ids` int32 [B·T]; `next_weights` float32 [B·T] is 0 where no token follows. */
function nextTokenLoss(outputs: Named<tf.Tensor>, batch: Named<tf.Tensor>): tf.Scalar {
  const [ids, weights] = [batch["next_ids"] as tf.Tensor1D, batch["next_weights"] as tf.Tensor1D];
  return crossEntropy(outputs["logits"] as tf.Tensor2D, ids, weights);
}
