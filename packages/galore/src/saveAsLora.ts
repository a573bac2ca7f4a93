import { defineMethod, patternValue, PeftError, PeftModel, saveAdapter, targetFields, targetWire } from "@peftjs/core";
import { float32, widen } from "@peftjs/core";
import type { HostTensor, LayerSite, Method, Named, SaveAdapterOptions, StoredTensor } from "@peftjs/core";
import { z } from "zod";
import type { GaloreConfig } from "./config.ts";
import { projectedSite } from "./galore.ts";
import { loraFactors } from "./loraFactors.ts";

export interface SaveAsLoraOptions extends Pick<SaveAdapterOptions, "dir" | "dtype"> {
  /** Optimizer steps that were taken: each window of `updateProjGap` steps adds `rank` to the rank of the change. */
  readonly steps: number;
}

/**
 * Writes what GaLore changed as a LoRA adapter of the base model, which Python's `peft` loads: ΔW = W − W₀ = B·A with
 * k = min(r·⌈steps/T⌉, out, in) and α = k, exact up to rounding without weight decay; biases of these layers as trained biases
 * ("lora_only"), and whole modules for everything else that has changed, such as the head. Returns the folder.
 * @throws PeftError `PLUGIN_MISSING` for a model without GaLore, `INTERCHANGE_UNSUPPORTED` when adapters learn beside it, `NOT_LOW_RANK` as
 * `loraFactors`.
 */
export async function saveAsLora(model: PeftModel, { steps, ...options }: SaveAsLoraOptions): Promise<string> {
  const config = configOf(model);
  const { sites, values } = changed(model, config);
  const rank = config.rank * Math.ceil(steps / config.updateProjGap);
  const rankOf = (site: LayerSite): number => Math.min(rank, site.outFeatures, site.inFeatures);
  const ranks = Object.fromEntries(
    sites.filter((site) => rankOf(site) < rank).map((site) => [site.path, rankOf(site)]),
  );
  const weights = new Set(sites.map(({ weight }) => weight));
  const biases = new Set(sites.flatMap(({ bias }) => bias ?? []));
  const others = Object.keys(values).filter((name) => !weights.has(name) && !biases.has(name));
  const served = new PeftModel(model.base);
  await served.attach<CarrierConfig>({
    method: carrier(values),
    config: {
      targetModules: sites.map(({ path }) => path),
      modulesToSave: [...new Set(others.map((name) => moduleOf(name, model.base.headModules)))],
      ...{ rank, alpha: rank, rankPattern: ranks, alphaPattern: ranks },
      bias: [...biases].some((name) => name in values) ? "lora_only" : "none",
    },
  });
  const own = Object.entries(values).map(([name, value]) => [`default.${name}`, value] as const);
  served.setTrainable(Object.fromEntries(own.filter(([key]) => key in served.trainable())));
  return saveAdapter(served, options);
}

function configOf({ plugins }: PeftModel): GaloreConfig {
  const found = plugins.attached.find(({ plugin }) => plugin.name === "galore");
  if (found !== undefined) return found.config as GaloreConfig;
  throw new PeftError(
    "PLUGIN_MISSING",
    'The model has no plug-in "galore", whose changes could be written. Pass the model that was trained, or one with use(galore, …) of the same config.',
  );
}

interface Changes {
  /** Layers whose weight is projected. */
  readonly sites: readonly LayerSite[];
  /** Base parameters that are not what they were, by name. */
  readonly values: Named<HostTensor>;
}

function changed(model: PeftModel, config: GaloreConfig): Changes {
  const trainable = model.trainable();
  const parameters = model.plugins.parameters();
  const adapted = parameters.find(({ base }) => base === null);
  if (adapted !== undefined) {
    throw new PeftError(
      "INTERCHANGE_UNSUPPORTED",
      `"${adapted.key}" belongs to an adapter that learns beside GaLore, which one LoRA file cannot say as well. Save it by saveAdapter, and setLearning to the adapter that GaLore works on.`,
    );
  }
  const values = parameters.flatMap(({ key, base }) => {
    const [name, now] = [base as string, trainable[key] as HostTensor];
    const before = widen(model.base.parameters.get(name) as StoredTensor);
    return now.data.every((value, i) => value === before.data[i]) ? [] : [[name, now] as const];
  });
  return {
    sites: parameters.flatMap((parameter) => projectedSite(parameter, config) ?? []),
    values: Object.fromEntries(values),
  };
}

/** The head as a whole, else the module that the parameter is in. */
function moduleOf(name: string, heads: readonly string[]): string {
  return heads.find((head) => name.startsWith(`${head}.`)) ?? name.slice(0, name.lastIndexOf("."));
}

const CarrierConfig = z.strictObject({
  ...targetFields,
  rank: z.int().positive(),
  alpha: z.number(),
  rankPattern: z.record(z.string(), z.int()).readonly(),
  alphaPattern: z.record(z.string(), z.number()).readonly(),
  bias: z.enum(["none", "lora_only"]),
});
type CarrierConfig = z.infer<typeof CarrierConfig>;

/** LoRA files of these weights (Hu et al. 2021): ΔW = (α/k)·B·A. */
function carrier(weights: Named<HostTensor>): Method<CarrierConfig> {
  return defineMethod<CarrierConfig>({
    name: "lora",
    description: "Low-rank factors of the change of each weight.",
    package: "@peftjs/galore",
    config: CarrierConfig,
    wire: {
      peftType: "LORA",
      config: {
        ...targetWire,
        ...{ rank: "r", alpha: "lora_alpha", rankPattern: "rank_pattern", alphaPattern: "alpha_pattern", bias: "bias" },
      },
      tensors: { a: "lora_A.weight", b: "lora_B.weight" },
      constants: { lora_dropout: 0, init_lora_weights: true, use_rslora: false, fan_in_fan_out: false },
    },
    capabilities: { merge: false, multiAdapter: false, identityAtStart: false },
    targets: (config) => config,
    trains: ({ name, targets, config: { bias } }) => bias === "lora_only" && targets.some((site) => site.bias === name),
    siteConfig: ({ site, config }) => ({ ...config, rank: patternValue(config.rankPattern, site.path) ?? config.rank }),
    init: ({ site: { weight: name, layout }, config: { rank }, weight }) => {
      const change = weight.data.map((value, i) => (weights[name]?.data[i] ?? value) - value);
      const { loraA, loraB } = loraFactors(float32(change as Float32Array, weight.shape), { layout, rank });
      return { params: { a: loraA, b: loraB } };
    },
  });
}
