import { float32 } from "@peftjs/core";
import type { HostTensor, InitContext, InitResult, LayerSite } from "@peftjs/core";
import { factorNames, loraScale } from "../lora/config.ts";
import { initLora } from "../lora/init.ts";
import type { DoraConfig } from "./config.ts";

/** LoRA's start, whichever it is, and m = ‖W + s·B·A‖ over the inputs, [out]: whatever B·A is, nothing changes by m. */
export function initDora(context: InitContext<DoraConfig>): InitResult {
  const { site, config } = context;
  const start = initLora(context);
  const { params } = start;
  const names = factorNames(site);
  const magnitude = rowNorms(site, {
    weight: start.weight ?? context.weight,
    a: params[names.a] as HostTensor,
    b: params[names.b] as HostTensor,
    scale: loraScale(config),
  });
  return { ...start, params: { ...params, magnitude } };
}

interface Factors {
  readonly weight: HostTensor;
  readonly a: HostTensor;
  readonly b: HostTensor;
  readonly scale: number;
}

function rowNorms({ inFeatures, outFeatures, layout }: LayerSite, { weight, a, b, scale }: Factors): HostTensor {
  const norms = new Float32Array(outFeatures);
  const row = new Float64Array(inFeatures);
  const rank = b.shape[1] as number;
  const [outStride, inStride] = layout === "out_in" ? [inFeatures, 1] : [1, outFeatures];
  for (let o = 0; o < outFeatures; o++) {
    for (let i = 0; i < inFeatures; i++) row[i] = weight.data[o * outStride + i * inStride] as number;
    for (let k = 0; k < rank; k++) {
      const factor = scale * (b.data[o * rank + k] as number);
      if (factor === 0) continue;
      for (let i = 0; i < inFeatures; i++) row[i]! += factor * (a.data[k * inFeatures + i] as number);
    }
    norms[o] = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
  }
  return float32(norms, [outFeatures]);
}
