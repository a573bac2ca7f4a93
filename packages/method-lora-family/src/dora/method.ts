import { defineMethod } from "@peftjs/core";
import type { DeltaContext, ForwardContext, Method } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { loraEmbeddingUpdate, loraUpdate } from "../lora/layer.ts";
import { lora, loraTensors } from "../lora/method.ts";
import { DoraConfig, doraWire } from "./config.ts";
import { initDora } from "./init.ts";
import { doraDelta, magnitudeScale } from "./layer.ts";
import type { DoraTensors } from "./layer.ts";

/** No rule is known for the magnitudes of combined adapters. */
const { combine: _combine, ...shared } = lora as unknown as Method<DoraConfig>;

/**
 * DoRA (Liu et al. 2024, eq. 5): direction and magnitude of the weight's rows learn apart. With V = W + s·B·A, n = ‖V‖ over the
 * inputs and c = m/n, a layer y = x·Wᵀ + b becomes y = c⊙(x·Vᵀ) + b; m [out] starts as n. Several adapters each add what they
 * change of the same W: c⊙(x·Vᵀ) − x·Wᵀ. With dropout the change is that of d = drop(x): y = x·Wᵀ + b + c⊙(d·Vᵀ) − d·Wᵀ.
 */
export const dora: Method<DoraConfig> = defineMethod<DoraConfig>({
  ...shared,
  name: "dora",
  description: "DoRA: LoRA for the direction of the weights, and a magnitude per output.",
  config: DoraConfig,
  wire: doraWire,
  // The norm is that of the weight.
  capabilities: { ...shared.capabilities, ownResponse: true, quantizedBase: "values" },
  init: initDora,
  forward,
  delta,
});

function forward(context: ForwardContext<DoraConfig>): tf.Tensor2D {
  const { site, config, x, base, bias, innermost, dropout } = context;
  const tensors = suppressed(doraTensors(context), context.responseScale);
  // Which rows are looked up is nothing to drop from.
  const input = site.kind === "embedding" ? x : dropout(x, config.dropout);
  const { product, update } = site.kind === "embedding" ? rowsOf(input, tensors) : productsOf(input, tensors);
  const changed: tf.Tensor2D = tf.mul(tf.add(product, update), magnitudeScale(tensors));
  if (!innermost || input !== x) return tf.add(base(x), tf.sub(changed, product));
  return bias === null ? changed : tf.add(changed, bias);
}

/** V = W + r·s·B·A for a response scale of r: m stays, so that r = 0 is not the base layer once m has moved. */
function suppressed(tensors: DoraTensors, responseScale: tf.Scalar | null): DoraTensors {
  return responseScale === null ? tensors : { ...tensors, b: tf.mul(tensors.b, responseScale) };
}

interface Parts {
  /** Of the layer's own weight. */
  readonly product: tf.Tensor2D;
  readonly update: tf.Tensor2D;
}

function productsOf(x: tf.Tensor2D, tensors: DoraTensors): Parts {
  const { weight, layout } = tensors;
  return { product: tf.matMul(x, weight, false, layout === "out_in"), update: loraUpdate(x, tensors) };
}

function rowsOf(x: tf.Tensor2D, tensors: DoraTensors): Parts {
  const ids = x as tf.Tensor as tf.Tensor1D;
  return { product: tf.gather(tensors.weight, ids), update: loraEmbeddingUpdate(ids, tensors) };
}

function delta(context: DeltaContext<DoraConfig>): { readonly weight: tf.Tensor2D } {
  return { weight: doraDelta(doraTensors(context)) };
}

function doraTensors(context: ForwardContext<DoraConfig> | DeltaContext<DoraConfig>): DoraTensors {
  const { site, config, params, weight } = context;
  const magnitude = params["magnitude"] as tf.Tensor1D;
  return { ...loraTensors(context), magnitude, weight, layout: site.layout, detachNorm: config.detachNorm };
}
