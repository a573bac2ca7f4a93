import type { TargetConfig } from "@peftjs/core";

const SELF_ATTENTION = ["q_proj", "v_proj"];
const ALL_OF_BLOCK = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"];

/** What the Python library targets by default: more layers than with LoRA, as pruning finds out which ones matter. */
const DEFAULT_TARGETS: Readonly<Record<string, readonly string[] | string>> = {
  bert: ["query", "value"],
  roberta: ["query", "key", "value", "dense"],
  deberta: ["in_proj"],
  "deberta-v2": ["query_proj", "key_proj", "value_proj", "dense"],
  t5: ["q", "k", "v", "o", "wi", "wo"],
  mt5: ["q", "k", "v", "o", "wi_0", "wi_1", "wo"],
  bart: ALL_OF_BLOCK,
  opt: ALL_OF_BLOCK,
  gpt2: ["c_attn"],
  gpt_bigcode: ["c_attn"],
  gptj: SELF_ATTENTION,
  gpt_neo: SELF_ATTENTION,
  gpt_neox: ["query_key_value"],
  bloom: ["query_key_value"],
  llama: SELF_ATTENTION,
  llama4: SELF_ATTENTION,
  gemma: SELF_ATTENTION,
  gemma2: SELF_ATTENTION,
  gemma3_text: SELF_ATTENTION,
  gemma4: ".*language_model\\..*\\.(q_proj|v_proj)",
  qwen2: SELF_ATTENTION,
  qwen3: SELF_ATTENTION,
  nemotron_h: ["q_proj", "k_proj", "v_proj", "o_proj"],
};

/** The config's targets; without any, those of the table, and for other models the model's own. */
export function withDefaultTargets<T extends TargetConfig>(config: T, modelType: string): T {
  if (config.targetModules !== null || config.targetRoles !== null) return config;
  return { ...config, targetModules: DEFAULT_TARGETS[modelType] ?? null };
}
