import { patternValue } from "@peftjs/core";
import type { LayerSite, SiteContext, TargetConfig } from "@peftjs/core";
import type { SeriesConfig } from "./config.ts";
import type { Placement } from "./layer.ts";

interface Family {
  /** Layers into the feed-forward block's activation. */
  readonly first: readonly string[];
  /** The layer out of it. */
  readonly last: readonly string[];
  readonly attention: readonly string[];
}

const PROJECTIONS = ["q_proj", "k_proj", "v_proj"];
const LLAMA: Family = { first: ["gate_proj", "up_proj"], last: ["down_proj"], attention: PROJECTIONS };
const FUSED: Family = { first: ["dense_h_to_4h"], last: ["dense_4h_to_h"], attention: ["query_key_value"] };

/** Layers of LLM-Adapters by model type, and of types that are built alike. */
const FAMILIES: Readonly<Record<string, Family>> = {
  llama: LLAMA,
  mistral: LLAMA,
  gemma: LLAMA,
  gemma2: LLAMA,
  qwen2: LLAMA,
  qwen3: LLAMA,
  bloom: FUSED,
  chatglm: FUSED,
  gpt_neox: FUSED,
  gptj: { first: ["fc_in"], last: ["fc_out"], attention: PROJECTIONS },
  gpt_neo: { first: ["c_fc"], last: ["c_proj"], attention: PROJECTIONS },
  gpt2: { first: ["mlp.c_fc"], last: ["mlp.c_proj"], attention: ["c_attn"] },
  opt: { first: ["fc1"], last: ["fc2"], attention: PROJECTIONS },
};

const FIRST_ROLES = ["ffnUp", "ffnGate"];
const FIRST_NAMES = new Set(Object.values(FAMILIES).flatMap(({ first }) => first.map(lastPart)));

type Targets = Partial<Pick<TargetConfig, "targetModules" | "targetRoles">>;

/** The layers of series adapters where the config names none: the feed-forward block (AdapterH), or its last layer (AdapterP). */
export function seriesTargets({ useAdapterp }: Pick<SeriesConfig, "useAdapterp">, modelType: string): Targets {
  const family = FAMILIES[modelType];
  if (family === undefined) return { targetRoles: useAdapterp ? ["ffnDown"] : [...FIRST_ROLES, "ffnDown"] };
  return { targetModules: useAdapterp ? family.last : [...family.first, ...family.last] };
}

/** The layers of parallel adapters where the config names none: queries, keys and values. */
export function parallelTargets(modelType: string): Targets {
  const family = FAMILIES[modelType];
  return family === undefined ? { targetRoles: ["query", "key", "value"] } : { targetModules: family.attention };
}

/**
 * Where the series adapter of a layer sits: as the config says, else before the first layers of the feed-forward block, known by their
 * role or, where an architecture has roles of its own, by name; after any other layer.
 */
export function seriesPlacement({ site, config }: SiteContext<SeriesConfig>): Placement {
  return patternValue(config.placement, site.path) ?? (isFirst(site) ? "before" : "after");
}

function isFirst({ role, path }: LayerSite): boolean {
  return FIRST_ROLES.includes(role) || FIRST_NAMES.has(lastPart(path));
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf(".") + 1);
}
