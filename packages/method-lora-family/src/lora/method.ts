import { defineMethod, isBias, PeftError } from "@peftjs/core";
import type {
  CombineContext,
  CombinedForm,
  DeltaContext,
  ForwardContext,
  LayerSite,
  Method,
  SiteContext,
} from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { combineLora } from "../combine/loraCombine.ts";
import { calibrateEva } from "../eva/calibrate.ts";
import { residualToLora } from "../pissa/convert.ts";
import { factorNames, LoraConfig, loraScale, loraSiteConfig, loraWire, takesFromWeight } from "./config.ts";
import { initLora } from "./init.ts";
import { loraDelta, loraEmbeddingUpdate, loraUpdate } from "./layer.ts";
import type { LoraTensors } from "./layer.ts";
import { refitLora } from "./refit.ts";

/**
 * LoRA (Hu et al. 2021): a layer y = x·Wᵀ + b becomes y = x·Wᵀ + b + s·drop(x)·Aᵀ·Bᵀ with W and b frozen,
 * A [r, in], B [out, r], s = α/r. rsLoRA (Kalajdzievski 2023) is the same with s = α/√r.
 */
export const lora: Method<LoraConfig> = defineMethod<LoraConfig>({
  name: "lora",
  description: "Low-rank update of chosen layers: W + (α/r)·B·A (LoRA, rsLoRA).",
  package: "@peftjs/method-lora-family",
  config: LoraConfig,
  wire: loraWire,
  capabilities: {
    ...{ merge: true, multiAdapter: true, identityAtStart: true },
    quantizedBase: (config: LoraConfig) => (takesFromWeight(config) ? "values" : "output"),
  },
  targets: (config) => config,
  siteConfig: loraSiteConfig,
  init: initLora,
  calibrate: calibrateEva,
  file: residualToLora,
  forward,
  delta,
  combine,
  refit: refitLora,
  trains: ({ name, targets, config }) => trainsBias(config.bias, name, targets),
});

/** Whatever the adapters started from and however they learned, what they come to together is plain LoRA, with its fields alone. */
function combine(context: CombineContext<LoraConfig>): CombinedForm<LoraConfig> {
  const { config, params } = combineLora(context);
  return { config: LoraConfig.strip().parse(config), params, method: lora as unknown as Method };
}

function forward(context: ForwardContext<LoraConfig>): tf.Tensor2D {
  const { site, x, base, dropout, config } = context;
  const tensors = loraTensors(context);
  if (site.kind === "embedding") return tf.add(base(x), loraEmbeddingUpdate(x as tf.Tensor as tf.Tensor1D, tensors));
  return tf.add(base(x), loraUpdate(dropout(x, config.dropout), tensors));
}

function delta(context: DeltaContext<LoraConfig>): { weight: tf.Tensor2D; bias?: tf.Tensor1D } {
  const tensors = loraTensors(context);
  const weight = loraDelta(tensors, context.site.layout);
  if (tensors.bias === undefined) return { weight };
  if (context.bias === null) {
    throw new PeftError(
      "MERGE_UNSUPPORTED",
      `"${context.site.path}" has no bias, so the trained bias of loraBias: true has nowhere to go. Train with loraBias: false, or keep the adapter unmerged.`,
    );
  }
  return { weight, bias: tf.mul(tensors.bias, tensors.scale) };
}

/** The tensors of one layer among the method's parameters. */
export function loraTensors({
  site,
  params,
  config,
}: SiteContext<LoraConfig> & { readonly params: Readonly<Record<string, tf.Tensor>> }): LoraTensors {
  const { a, b } = factorNames(site);
  return {
    a: params[a] as tf.Tensor2D,
    b: params[b] as tf.Tensor2D,
    bias: params["biasB"] as tf.Tensor1D | undefined,
    scale: loraScale(config),
  };
}

/** Whether the base parameter `name` is a bias that learns. */
export function trainsBias(bias: LoraConfig["bias"], name: string, targets: readonly LayerSite[]): boolean {
  if (bias === "none") return false;
  if (bias === "all") return isBias(name);
  return targets.some((site) => site.bias === name);
}
