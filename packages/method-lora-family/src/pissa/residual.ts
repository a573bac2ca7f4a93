import { cloneTensor, float32, matmul, PeftError, transpose } from "@peftjs/core";
import type { HostMatrix, InitContext, InitResult } from "@peftjs/core";
import { loraScale } from "../lora/config.ts";
import type { LoraConfig } from "../lora/config.ts";
import { toMatrix, toTensor } from "../matrices.ts";

/** The part of a weight that the adapter takes over: a [r, in], b [out, r]. */
export interface Factors {
  readonly a: HostMatrix;
  readonly b: HostMatrix;
}

/**
 * The start of a method that takes a part of the weight into its factors: A and B from `factorise` (which is given W [out, in], however
 * it is stored), and W − s·B·A in place of the base weight, so that the layer's output stays what it was. The rest is computed with A
 * and B as they are kept, in float32: W − s·B·A + s·B·A is W within one rounding. The start factors stay in the state (a0, b0): files
 * of plain LoRA are made with them.
 * @throws PeftError `CONFIG_INVALID` for an embedding, a bias of B, a rank above min(out, in), or a scale that is not positive.
 */
export function splitWeight(context: InitContext<LoraConfig>, factorise: (weight: HostMatrix) => Factors): InitResult {
  requireSplittable(context);
  const { site, config, weight } = context;
  const stored = toMatrix(weight);
  const factors = factorise(site.layout === "out_in" ? stored : transpose(stored));
  const a = toTensor(factors.a);
  const b = toTensor(factors.b);
  const product = matmul(toMatrix(b), toMatrix(a));
  const taken = (site.layout === "out_in" ? product : transpose(product)).data;
  const scale = loraScale(config);
  return {
    params: { a, b },
    state: { a0: cloneTensor(a), b0: cloneTensor(b) },
    weight: float32(
      Float32Array.from(stored.data, (value, i) => value - scale * (taken[i] as number)),
      weight.shape,
    ),
  };
}

function requireSplittable({ site, config }: InitContext<LoraConfig>): void {
  const start = `initLoraWeights: "${String(config.initLoraWeights)}"`;
  const { path, inFeatures, outFeatures } = site;
  const largest = Math.min(inFeatures, outFeatures);
  if (site.kind === "embedding")
    throw refusal(
      `${start} needs linear layers, but "${path}" is an embedding`,
      "Leave it out of targetModules, or use initLoraWeights: true",
    );
  if (config.loraBias) throw refusal(`${start} cannot be combined with loraBias: true`, "Set loraBias: false");
  if (config.rank > largest)
    throw refusal(
      `${start} cannot take rank ${config.rank} out of "${path}": the rank of its weight [${outFeatures}, ${inFeatures}] is ${largest} at most`,
      "Use a smaller rank, or rankPattern for this layer",
    );
  if (!(config.alpha > 0))
    throw refusal(`${start} needs a positive alpha, got ${config.alpha} for "${path}"`, "Use alpha = rank");
}

function refusal(reason: string, remedy: string): PeftError {
  return new PeftError("CONFIG_INVALID", `${reason}. ${remedy}.`);
}
