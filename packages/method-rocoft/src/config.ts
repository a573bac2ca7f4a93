import { patternValue, targetFields, targetWire } from "@peftjs/core";
import type { SiteContext, Wire } from "@peftjs/core";
import { z } from "zod";

/** The linear layers of a transformer block, by role; `queryKeyValue` is one layer that computes all three. */
const BLOCK_ROLES = [
  ...["query", "key", "value", "queryKeyValue", "attentionOutput"],
  ...["ffnUp", "ffnGate", "ffnDown"],
] as const;
/** The linear layers of task heads, and the layers before vocabulary scores. */
const HEAD_ROLES = ["pooler", "classifier"] as const;
const LM_HEAD_ROLES = ["lmHead", "output"] as const;

/** Model types whose norms the original code does not know, so that it leaves their gains trained. */
const UNKNOWN_NORMS: readonly string[] = [
  ...["llama", "mistral", "mixtral", "gemma", "gemma2", "gemma3_text", "phi3", "qwen2", "qwen3", "olmo2"],
  ...["t5", "mt5", "deberta"],
];

const index = z.int().nonnegative();

/** Settings of RoCoFT. `rank` is r of the paper, and `r` in adapter_config.json. */
export const RocoftConfig = z
  .strictObject({
    ...targetFields,
    mode: z
      .enum(["row", "column", "entries"])
      .default("row")
      .describe("What learns of each weight W [out, in]: whole rows, whole columns, or single entries."),
    rank: index
      .default(3)
      .describe("Number r of rows or columns, at most as many as there are. 0: only biases and the head learn."),
    rankPattern: z
      .record(z.string(), index)
      .readonly()
      .default({})
      .describe("r of single layers: path suffix or regular expression → r."),
    density: z
      .number()
      .gt(0)
      .max(1)
      .nullable()
      .default(null)
      .describe('Share of the entries that learn, for "entries".'),
    count: index.nullable().default(null).describe('Number of entries per layer that learn, for "entries".'),
    matchRows: index.nullable().default(null).describe('As many entries as r rows have, r·in, for "entries".'),
    matchRank: index
      .nullable()
      .default(null)
      .describe('As many entries as low-rank factors of rank r have, r·(in + out), for "entries".'),
    select: z
      .enum(["first", "last", "uniform", "random", "max", "min", "mixed"])
      .nullable()
      .default(null)
      .describe(
        'Which rows, columns or entries: "first" (default of rows and columns), "last", evenly spaced, "random" (default of entries), ' +
          'or those of the highest ("max"), lowest ("min") or half of each ("mixed") score on the caller\'s batches.',
      ),
    indices: z
      .record(z.string(), z.union([z.array(index).readonly(), z.array(z.tuple([index, index]).readonly()).readonly()]))
      .readonly()
      .default({})
      .describe(
        "Rows or columns, or [row, column] of entries, of single layers, instead of what select and the number give: path suffix or " +
          "regular expression → list.",
      ),
    rowScore: z
      .enum(["source", "wanda"])
      .default("source")
      .describe('Score of a row: "source" looks at the layer\'s output, "wanda" at its input.'),
    bias: z
      .enum(["none", "targets", "all"])
      .default("targets")
      .describe("Biases that learn: none, those of the adapted layers, or all of the model."),
    head: z
      .enum(["full", "restricted", "frozen"])
      .default("full")
      .describe(
        'The task head: trained in full, as any other layer ("restricted": r rows or columns of its linear layers), or not at all.',
      ),
    norms: z
      .enum(["frozen", "train", "source"])
      .default("frozen")
      .describe('Norms: frozen, trained, or "source": trained where the original code leaves them so (RMS norms).'),
    includeLmHead: z
      .boolean()
      .default(false)
      .describe("The layers before vocabulary scores are adapted by default, too."),
    parameterisation: z
      .enum(["delta", "absolute"])
      .default("delta")
      .describe(
        '"delta": the change D learns, and weight decay pulls to the pre-trained values. "absolute": the values themselves learn, and it ' +
          "pulls to zero. Files hold D.",
      ),
    forward: z
      .enum(["split", "materialised"])
      .default("split")
      .describe(
        'How a layer is computed: "split" adds a small product to the base layer\'s, "materialised" makes the changed weight first ' +
          "(entries always do).",
      ),
  })
  .superRefine(({ mode, density, count, matchRows, matchRank, indices }, context) => {
    const given = [density, count, matchRows, matchRank].filter((value) => value !== null).length;
    const problem = (path: string, message: string): void =>
      void context.addIssue({ code: "custom", path: [path], message });
    if (mode === "entries" && given !== 1)
      problem("density", `Mode "entries" needs exactly one of density, count, matchRows and matchRank, got ${given}.`);
    if (mode !== "entries" && given > 0)
      problem(
        "density",
        `density, count, matchRows and matchRank are for mode "entries"; rank is the number of ${mode}s.`,
      );
    for (const list of Object.values(indices)) {
      const isPairs = list.some((entry) => typeof entry !== "number");
      if (list.length > 0 && isPairs !== (mode === "entries"))
        problem("indices", mode === "entries" ? "Expected lists of [row, column]." : `Expected lists of ${mode}s.`);
      if (new Set(list.map(String)).size < list.length) problem("indices", "Expected no index twice.");
    }
  });
export type RocoftConfig = z.infer<typeof RocoftConfig>;

/**
 * Everything that the original code does otherwise, at once: `use(rocoft, { ...source, rank: 3 })`. Heads and the layer before
 * vocabulary scores are restricted like the rest, RMS norms are trained, and weight decay pulls to zero.
 */
export const source = {
  head: "restricted",
  includeLmHead: true,
  norms: "source",
  parameterisation: "absolute",
} as const satisfies Partial<RocoftConfig>;

/** Names in adapter_config.json and the tensor file. The change is written whichever parameterisation learned it. */
export const rocoftWire: Wire<RocoftConfig> = {
  peftType: "ROCOFT",
  config: {
    ...targetWire,
    mode: "mode",
    rank: "r",
    rankPattern: "rank_pattern",
    density: "density",
    count: "count",
    matchRows: "match_rows",
    matchRank: "match_rank",
    select: "select",
    indices: "indices",
    rowScore: "row_score",
    bias: "bias",
    head: "head",
    norms: "norms",
    includeLmHead: "include_lm_head",
    parameterisation: "parameterisation",
    forward: "forward",
  },
  tensors: {
    delta: "rocoft_delta",
    slice: "rocoft_delta",
    start: null,
    indices: "rocoft_indices",
    biasDelta: "rocoft_bias_delta",
  },
};

/** The config with the layers it means where it names none, and without the settings that stand for others. */
export function resolveRocoft(config: RocoftConfig, { modelType }: { readonly modelType: string }): RocoftConfig {
  const { targetModules, targetRoles, modulesToSave, head, includeLmHead, norms } = config;
  const roles = [...BLOCK_ROLES, ...(head === "restricted" ? HEAD_ROLES : []), ...(includeLmHead ? LM_HEAD_ROLES : [])];
  const trained = UNKNOWN_NORMS.includes(modelType) ? "train" : "frozen";
  return {
    ...config,
    targetRoles: targetModules === null && targetRoles === null ? roles : targetRoles,
    modulesToSave: modulesToSave === null && head !== "full" ? [] : modulesToSave,
    norms: norms === "source" ? trained : norms,
  };
}

/** The config of one layer: its own r. */
export function rocoftSiteConfig({ site, config }: SiteContext<RocoftConfig>): RocoftConfig {
  return { ...config, rank: patternValue(config.rankPattern, site.path) ?? config.rank };
}

/** How the rows, columns or entries of a layer are chosen where no list names them. */
export function selectionOf({
  select,
  mode,
}: Pick<RocoftConfig, "select" | "mode">): NonNullable<RocoftConfig["select"]> {
  return select ?? (mode === "entries" ? "random" : "first");
}
