import { didYouMean, patternValue, targetFields, targetWire, tokenFields } from "@peftjs/core";
import type { LayerSite, SiteContext, Wire } from "@peftjs/core";
import { z } from "zod";
import { EvaOptions, evaWire } from "../eva/options.ts";

const patternOf = (value: z.ZodNumber) => z.record(z.string(), value).readonly();

const starts = ["gaussian", "orthogonal", "pissa", "olora", "eva"] as const;

/** `N` of "pissa_niter_N" is the number of subspace iterations. */
const initLoraWeights = z.union(
  [z.boolean(), z.enum(starts), z.templateLiteral(["pissa_niter_", z.int().nonnegative()])],
  {
    error: ({ input }) =>
      `Expected true, false, ${starts.map((name) => `"${name}"`).join(", ")} or "pissa_niter_N" (e.g. "pissa_niter_16"), ` +
      `got ${JSON.stringify(input)}.${didYouMean(String(input), starts)}`,
  },
);

/** Settings of LoRA. Names and defaults are those of the Python library, in camelCase. */
export const LoraConfig = z.strictObject({
  ...targetFields,
  ...tokenFields,
  rank: z.int().positive().default(8).describe("Rank r of the update."),
  alpha: z.number().default(8).describe("Scale α: the update is multiplied by α/r (or α/√r with useRslora)."),
  dropout: z.number().min(0).lt(1).default(0).describe("Dropout on the input of A; never on the base layer."),
  bias: z
    .enum(["none", "all", "lora_only"])
    .default("none")
    .describe('Biases trained as well: "none", "all" of the model, or those of the adapted layers ("lora_only").'),
  useRslora: z.boolean().default(false).describe("Rank-stabilised scale α/√r (Kalajdzievski 2023) instead of α/r."),
  initLoraWeights: initLoraWeights
    .default(true)
    .describe(
      'Start values. true: A uniform, B zero. "gaussian": A normal(0, 1/r). "orthogonal": B·A = 0, both non-zero. false: both uniform. ' +
        '"pissa", "pissa_niter_N", "olora", "eva": see the methods of these names.',
    ),
  eva: EvaOptions.nullable().default(null).describe('Settings of initLoraWeights "eva". Default: their defaults.'),
  rankPattern: patternOf(z.int().positive())
    .default({})
    .describe("Rank of single layers: path suffix or regular expression → rank."),
  alphaPattern: patternOf(z.number())
    .default({})
    .describe("Alpha of single layers: path suffix or regular expression → alpha."),
  fanInFanOut: z
    .boolean()
    .default(false)
    .describe("Written for the Python library. The layout itself is read off the layer."),
  loraBias: z
    .boolean()
    .default(false)
    .describe(
      "Adds a trained bias to B, starting at zero. Only with initLoraWeights true or false, and for linear layers.",
    ),
});
export type LoraConfig = z.infer<typeof LoraConfig>;

/** Names in adapter_config.json and the tensor file. */
export const loraWire: Wire<LoraConfig> = {
  peftType: "LORA",
  config: {
    ...targetWire,
    trainableTokenIndices: "trainable_token_indices",
    rank: "r",
    alpha: "lora_alpha",
    dropout: "lora_dropout",
    bias: "bias",
    useRslora: "use_rslora",
    initLoraWeights: "init_lora_weights",
    rankPattern: "rank_pattern",
    alphaPattern: "alpha_pattern",
    fanInFanOut: "fan_in_fan_out",
    loraBias: "lora_bias",
    eva: evaWire,
  },
  tensors: {
    a: "lora_A.weight",
    b: "lora_B.weight",
    biasB: "lora_B.bias",
    embeddingA: "lora_embedding_A",
    embeddingB: "lora_embedding_B",
  },
  constants: {
    use_dora: false,
    loftq_config: {},
    megatron_config: null,
    megatron_core: "megatron.core",
  },
  whenSet: ["exclude_modules", "lora_bias", "eva_config", "trainable_token_indices"],
  unsupported: [
    "layer_replication",
    "target_parameters",
    "use_qalora",
    "alora_invocation_tokens",
    "arrow_config",
    "use_bdlora",
  ],
  accepts: isLoraFile,
};

function isLoraFile(json: Readonly<Record<string, unknown>>): boolean {
  return json["use_dora"] !== true;
}

/** Of a method whose files are LoRA's with a setting that `matches` looks for; LoRA reads them as well. */
export function loraWireWhere(matches: NonNullable<Wire<LoraConfig>["accepts"]>): Wire<LoraConfig> {
  return { ...loraWire, accepts: (json) => isLoraFile(json) && matches(json) };
}

/** Short names of A and B on a layer. */
export function factorNames({ kind }: LayerSite): { readonly a: string; readonly b: string } {
  return kind === "embedding" ? { a: "embeddingA", b: "embeddingB" } : { a: "a", b: "b" };
}

/** s = α/r, or α/√r (rsLoRA). */
export function loraScale(config: Pick<LoraConfig, "alpha" | "rank" | "useRslora">): number {
  return config.alpha / (config.useRslora ? Math.sqrt(config.rank) : config.rank);
}

/** The config of one layer: its own rank and alpha. */
export function loraSiteConfig<Config extends LoraConfig>({ site, config }: SiteContext<Config>): Config {
  return {
    ...config,
    rank: patternValue(config.rankPattern, site.path) ?? config.rank,
    alpha: patternValue(config.alphaPattern, site.path) ?? config.alpha,
  };
}

/** Whether A and B start as a part of the base weight, which is then without it. */
export function takesFromWeight({ initLoraWeights }: LoraConfig): boolean {
  return /^(?:pissa|olora)/u.test(String(initLoraWeights));
}
