import * as tf from "@tensorflow/tfjs-core";
import type { Adapter } from "../adapter/adapter.ts";
import type { ResponseKind } from "../modelOptions.ts";
import type { LayerSite } from "./site.ts";

/** x → y of a layer, with or without adapters around it. */
export type Layer = (x: tf.Tensor2D) => tf.Tensor2D;

/** How much of what adapters add to their layers counts. */
export interface ResponseOptions {
  /** Factor of what each active adapter adds, [active adapters]. */
  readonly adapterScale?: tf.Tensor1D | undefined;
  /** Factor of what all of them add to the layers of each transformer block, [blocks]. */
  readonly responseScale?: tf.Tensor1D | undefined;
  /** What `responseScale` multiplies. Default: "method". */
  readonly response?: ResponseKind | undefined;
}

export interface ResponseFactors {
  /** Factor of what the adapter adds to the layer's output, [1]; null: all of it counts. */
  readonly output: tf.Tensor1D | null;
  /** Factor for the method itself, which knows a response of its own; null for other methods. */
  readonly own: tf.Scalar | null;
}

/** The factors of one adapter at a layer. Layers outside of the blocks have no factor of a block. */
export function responseFactors(
  { adapterScale, responseScale, response = "method" }: ResponseOptions,
  {
    site,
    adapter,
    active,
  }: { readonly site: LayerSite; readonly adapter: Adapter; readonly active: readonly Adapter[] },
): ResponseFactors {
  const ofAdapter = adapterScale === undefined ? null : entry(adapterScale, active.indexOf(adapter));
  const ofBlock = responseScale === undefined || site.block === null ? null : entry(responseScale, site.block);
  if (ofBlock === null) return { output: ofAdapter, own: null };
  if (response === "method" && adapter.method.capabilities.ownResponse === true) {
    return { output: ofAdapter, own: tf.reshape(ofBlock, []) as tf.Scalar };
  }
  const both: tf.Tensor1D = ofAdapter === null ? ofBlock : tf.mul(ofAdapter, ofBlock);
  return { output: both, own: null };
}

function entry(factors: tf.Tensor1D, place: number): tf.Tensor1D {
  return tf.slice(factors, place, 1);
}

/** y = b + c·(f(x) − b) with b = below(x), f the adapter around it and c its factor; f(x) when there is none. b is computed once. */
export function withResponse(
  run: (x: tf.Tensor2D, below: Layer) => tf.Tensor2D,
  { below, output }: { readonly below: Layer } & Pick<ResponseFactors, "output">,
): Layer {
  if (output === null) return (x) => run(x, below);
  return (x) => {
    const b = below(x);
    const change: tf.Tensor2D = tf.sub(
      run(x, (input) => (input === x ? b : below(input))),
      b,
    );
    return tf.add(b, tf.mul(output, change));
  };
}
