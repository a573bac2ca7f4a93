import { PeftError } from "@peftjs/core";
import type { LayerSite } from "@peftjs/core";
import type { Ia3Config } from "./config.ts";

interface Placement {
  readonly targets: readonly string[];
  /** Those of the targets whose input is scaled. */
  readonly inner: readonly string[];
}

const placed = (outer: readonly string[], inner: readonly string[]): Placement => ({
  targets: [...outer, ...inner],
  inner,
});
const DECODER = placed(["q_proj", "v_proj"], ["down_proj"]);

/** Where the Python library puts the vectors, by model type. */
const LIBRARY: Readonly<Record<string, Placement>> = {
  bert: placed(["key", "value"], ["output.dense"]),
  roberta: placed(["key", "value"], ["output.dense"]),
  deberta: placed(["in_proj"], ["output.dense"]),
  "deberta-v2": placed(["key_proj", "value_proj"], ["output.dense"]),
  gpt2: placed(["c_attn"], ["mlp.c_proj"]),
  gpt_bigcode: placed(["c_attn"], ["mlp.c_proj"]),
  gptj: placed(["q_proj", "v_proj"], ["fc_out"]),
  gpt_neo: placed(["q_proj", "v_proj"], ["c_proj"]),
  gpt_neox: placed(["query_key_value"], ["dense_4h_to_h"]),
  falcon: placed(["query_key_value"], ["dense_4h_to_h"]),
  bloom: placed(["query_key_value"], ["mlp.dense_4h_to_h"]),
  t5: placed(["k", "v"], ["wo"]),
  mt5: placed(["k", "v", "wi_1"], []),
  bart: placed(["q_proj", "v_proj"], ["fc2"]),
  opt: placed(["q_proj", "k_proj"], ["fc2"]),
  phi: placed(["q_proj", "v_proj"], ["fc2"]),
  llama: placed(["k_proj", "v_proj"], ["down_proj"]),
  mistral: placed(["k_proj", "v_proj"], ["down_proj"]),
  mixtral: placed(["k_proj", "v_proj"], ["w2"]),
  llama4: DECODER,
  gemma: DECODER,
  gemma2: DECODER,
  gemma3_text: DECODER,
  qwen2: DECODER,
  qwen3: DECODER,
};

/** Types whose queries, keys and values come out of one layer. */
const FUSED = new Set(["deberta", "gpt2", "gpt_bigcode", "gpt_neox", "falcon", "bloom"]);

/**
 * The config with the layers of the model's type where it names none. What it resolves to says for every target which side is scaled.
 * @throws PeftError `TARGET_NOT_FOUND` for a type that the table lacks, and for the paper's placement where queries, keys and values
 * share a layer.
 */
export function withPlacement(config: Ia3Config, modelType: string): Ia3Config {
  const { targetModules, targetRoles, feedforwardModules, placement } = config;
  if (targetRoles !== null) return config;
  if (targetModules === null && placement === "paper") {
    if (FUSED.has(modelType)) throw fused(modelType);
    return { ...config, targetRoles: ["key", "value", "ffnDown"] };
  }
  if (targetModules !== null && feedforwardModules !== null) return config;
  const known = LIBRARY[modelType];
  if (known === undefined) {
    throw new PeftError(
      "TARGET_NOT_FOUND",
      `(IA)³ has no default layers for models of type "${modelType}". Set placement: "paper", or both targetModules and feedforwardModules.`,
    );
  }
  return {
    ...config,
    targetModules: targetModules ?? known.targets,
    feedforwardModules: feedforwardModules ?? known.inner,
  };
}

function fused(modelType: string): PeftError {
  return new PeftError(
    "TARGET_NOT_FOUND",
    `(IA)³ in the paper's placement scales keys and values but not queries, which one layer computes together in models of type "${modelType}". ` +
      'Set placement: "library", which scales all three, or both targetModules and feedforwardModules.',
  );
}

/**
 * Which side of a layer its vector scales. As in the Python library a name is any end of a path, whether or not a component starts
 * there. Targets by role need no names: the second feed-forward layer's input is scaled.
 */
export function sideOf(site: LayerSite, { feedforwardModules: inner }: Ia3Config): "input" | "output" {
  if (inner === null) return site.role === "ffnDown" ? "input" : "output";
  if (typeof inner === "string") return new RegExp(`^(?:${inner})$`, "u").test(site.path) ? "input" : "output";
  return inner.some((end) => site.path.endsWith(end)) ? "input" : "output";
}

/** The regular expression that names these paths and no others; no names where there are none. */
export function expressionFor(paths: readonly string[]): string | readonly string[] {
  return paths.length === 0 ? [] : paths.map((path) => path.replaceAll(".", "\\.")).join("|");
}
