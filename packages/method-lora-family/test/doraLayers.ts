import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createGenerator, float32 } from "@peftjs/core";
import type { ForwardContext, InitResult, LayerSite, Named } from "@peftjs/core";
import { linearSite } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { DoraConfig } from "../src/dora/config.ts";
import { dora } from "../src/dora/method.ts";

export const close = { absolute: 1e-6, relative: 1e-5 };
type Nested = readonly (number | Nested)[];

/** Written by fixtures/dora/make.py with the Python libraries. */
export interface Layer {
  readonly weight: Nested;
  readonly bias: Nested;
  readonly x: Nested;
  readonly dy: Nested;
}
interface Factors {
  readonly a: Nested;
  readonly b: Nested;
  readonly magnitude: Nested;
  readonly "fresh magnitude": Nested;
}
interface Single extends Layer, Factors {
  readonly y: Nested;
  readonly evaluated: Nested;
  readonly merged: Nested;
  readonly grad: Readonly<Record<"a" | "b" | "magnitude" | "x", Nested>>;
  readonly mask?: Nested;
}
interface Two extends Layer {
  readonly adapters: Readonly<Record<"one" | "two", Factors & { readonly merged: Nested }>>;
  readonly "in turn": Nested;
}
export const layers = JSON.parse(
  readFileSync(fileURLToPath(new URL("../../../fixtures/dora/layers.json", import.meta.url)), "utf8"),
) as { readonly linear: Single; readonly conv1d: Single; readonly dropout: Single; readonly two: Two };

export const tensor = (values: Nested): tf.Tensor => tf.tensor(values as number[]);
export const flat = (values: Nested): number[] => (values as number[][]).flat(2);

export const site = linearSite({ inFeatures: 5, outFeatures: 4, bias: "layer.bias" });
export const transposed: LayerSite = { ...site, layout: "in_out" };
export const table: LayerSite = { ...transposed, kind: "embedding", bias: null };
export const config = DoraConfig.parse({ rank: 2, alpha: 3 });

export interface Call {
  readonly site?: LayerSite;
  readonly config?: DoraConfig;
  readonly method?: typeof dora;
  readonly mask?: tf.Tensor | null;
  readonly base?: ForwardContext<DoraConfig>["base"] | null;
  readonly responseScale?: tf.Scalar | null;
}

export type Values = Named<tf.Tensor>;
export const factors = ({ a, b, magnitude }: Factors): Values => ({
  a: tensor(a),
  b: tensor(b),
  magnitude: tensor(magnitude),
});
export const own = ({ weight, bias, x }: Layer): Values => ({
  weight: tensor(weight),
  bias: tensor(bias),
  x: tensor(x),
});

/** The layer's output with the adapter on it, or on what `base` computes. */
export function call(
  values: Values,
  { method = dora, mask = null, base = null, responseScale = null, ...options }: Call = {},
): tf.Tensor2D {
  const { weight, bias = null, x, ...params } = values as Named<tf.Tensor2D>;
  const { site: at = site, config: settings = config } = options;
  const layer = (input: tf.Tensor2D): tf.Tensor2D => {
    if (at.kind === "embedding") return tf.gather(weight!, input as tf.Tensor as tf.Tensor1D);
    const product: tf.Tensor2D = tf.matMul(input, weight!, false, at.layout === "out_in");
    return bias === null ? product : tf.add(product, bias);
  };
  return method.forward!({
    ...{ site: at, config: settings, params, x: x!, weight: weight!, bias: bias as tf.Tensor | null as tf.Tensor1D },
    ...{ base: base ?? layer, innermost: base === null, training: mask !== null, responseScale },
    dropout: (input) => (mask === null ? input : tf.mul(input, mask)),
  });
}

export function mergedWeight(values: Values, at = site): tf.Tensor2D {
  const { weight, bias = null, x: _, ...params } = values as Named<tf.Tensor2D>;
  const tensors = { weight: weight!, bias: bias as tf.Tensor | null as tf.Tensor1D };
  const change = dora.delta!({ site: at, config, params, ...tensors, below: tensors });
  return tf.add(weight!, change.weight);
}

export function gradients(values: Values, names: readonly string[], loss: (values: Values) => tf.Tensor): Values {
  const parts = tf.grads((...tensors: tf.Tensor[]) =>
    loss({ ...values, ...Object.fromEntries(names.map((name, i) => [name, tensors[i]!])) }),
  )(names.map((name) => values[name]!));
  return Object.fromEntries(names.map((name, i) => [name, parts[i]!]));
}

export function init(at: LayerSite, settings: Partial<DoraConfig>, { weight, bias }: Layer): InitResult {
  const { inFeatures, outFeatures, layout } = at;
  const shape = layout === "out_in" ? [outFeatures, inFeatures] : [inFeatures, outFeatures];
  return dora.init!({
    ...{ site: at, config: { ...config, ...settings }, calibration: undefined },
    weight: float32(flat(weight), shape),
    bias: float32(flat(bias), [outFeatures]),
    generator: createGenerator(3),
  });
}

/** The layer's own values and the start's, its weight included where it has one. */
export function started(layer: Layer, { params, weight }: InitResult): Values {
  const replaced = weight === undefined ? {} : { weight };
  const tensors = Object.entries({ ...params, ...replaced }).map(
    ([name, { data, shape }]) => [name, tf.tensor(data, [...shape])] as const,
  );
  return { ...own(layer), ...Object.fromEntries(tensors) };
}
