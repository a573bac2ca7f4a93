import { createGenerator, float32, parseConfig } from "@peftjs/core";
import type { HostTensor, LayerSite, Named } from "@peftjs/core";
import { linearSite } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { rocoft, type RocoftConfig } from "../src/index.ts";

export interface SingleLayer {
  /** [out, in], whichever way it is stored. */
  readonly weight: readonly (readonly number[])[];
  readonly bias?: readonly number[];
  readonly layout?: LayerSite["layout"];
}

/** Parameters and buffers of one layer outside any model, and what it computes with them. */
export interface Attached {
  readonly site: LayerSite;
  readonly config: RocoftConfig;
  readonly trainable: Named<HostTensor>;
  readonly buffers: Named<HostTensor>;
  /** y of x [n, in], whether or not another adapter lies below. */
  forward(x: tf.Tensor2D, params?: Named<tf.Tensor>, innermost?: boolean): tf.Tensor2D;
  /** y by the merged weight and bias. */
  merged(x: tf.Tensor2D, params?: Named<tf.Tensor>): tf.Tensor2D;
  /** W + ΔW [out, in] and b + δb. */
  weights(params?: Named<tf.Tensor>): { readonly weight: tf.Tensor2D; readonly bias: tf.Tensor1D | null };
}

/** Attaches the method to one layer. */
export function attach(
  settings: Readonly<Record<string, unknown>>,
  { weight, bias, layout = "out_in" }: SingleLayer,
): Attached {
  const [outFeatures, inFeatures] = [weight.length, weight[0]?.length ?? 0];
  const path = "block.0.query";
  const site = linearSite({
    path,
    block: 0,
    inFeatures,
    outFeatures,
    layout,
    bias: bias === undefined ? null : `${path}.bias`,
  });
  const config = parseConfig(rocoft, settings);
  const w = tf.tensor2d(weight.map((row) => [...row]));
  const stored: tf.Tensor2D = layout === "out_in" ? w : tf.transpose(w);
  const b = bias === undefined ? null : tf.tensor1d([...bias]);
  const host = (tensor: tf.Tensor): HostTensor => float32(tensor.dataSync() as Float32Array, tensor.shape);
  const { params: trainable, buffers = {} } = required(rocoft.init)({
    ...{ site, config, generator: createGenerator(3), calibration: undefined, fromFile: false },
    weight: host(stored),
    bias: b === null ? null : host(b),
  });
  const fixed = asTensors(buffers);
  const product = (x: tf.Tensor2D, matrix: tf.Tensor2D, add: tf.Tensor1D | null): tf.Tensor2D => {
    const y: tf.Tensor2D = tf.matMul(x, matrix, false, layout === "out_in");
    return add === null ? y : tf.add(y, add);
  };
  const all = (params: Named<tf.Tensor>): Named<tf.Tensor> => ({
    ...asTensors(trainable),
    ...fixed,
    ...params,
  });
  const weights = (params: Named<tf.Tensor> = {}) => {
    const delta = required(rocoft.delta)({
      ...{ site, config, params: all(params), weight: stored, bias: b },
      below: { weight: stored, bias: b },
    });
    const merged: tf.Tensor2D = tf.add(stored, delta.weight);
    return { stored: merged, bias: b === null || delta.bias === undefined ? b : tf.add<tf.Tensor1D>(b, delta.bias) };
  };
  return {
    ...{ site, config, trainable, buffers },
    forward: (x, params = {}, innermost = true) =>
      required(rocoft.forward)({
        ...{
          site,
          config,
          params: all(params),
          x,
          innermost,
          weight: stored,
          bias: b,
          training: true,
          responseScale: null,
        },
        base: (input) => product(input, stored, b),
        dropout: (input) => input,
      }),
    merged: (x, params) => {
      const { stored: matrix, bias: add } = weights(params);
      return product(x, matrix, add);
    },
    weights: (params) => {
      const { stored: matrix, bias: add } = weights(params);
      return { weight: layout === "out_in" ? matrix : tf.transpose(matrix), bias: add };
    },
  };
}

export function asTensors(values: Named<HostTensor>): Named<tf.Tensor> {
  return Object.fromEntries(
    Object.entries(values).map(([name, { data, shape, dtype }]) => [name, tf.tensor(data, [...shape], dtype)]),
  );
}

/** ½Σy² and its gradients by x and by what learns. */
export function lossAndGradients(
  layer: Attached,
  x: tf.Tensor2D,
  params: Named<tf.Tensor> = asTensors(layer.trainable),
): { readonly loss: number; readonly dx: tf.Tensor; readonly gradients: Named<tf.Tensor> } {
  const names = Object.keys(params);
  const f = (input: tf.Tensor, ...values: tf.Tensor[]): tf.Scalar => {
    const own = Object.fromEntries(names.map((name, i) => [name, values[i] as tf.Tensor]));
    return tf.mul(0.5, tf.sum(tf.square(layer.forward(input as tf.Tensor2D, own))));
  };
  const { value, grads } = tf.valueAndGrads(f as (...args: tf.Tensor[]) => tf.Scalar)([
    x,
    ...names.map((name) => params[name] as tf.Tensor),
  ]);
  const [dx, ...others] = grads as [tf.Tensor, ...tf.Tensor[]];
  return {
    loss: value.dataSync()[0] as number,
    dx,
    gradients: Object.fromEntries(names.map((name, i) => [name, others[i] as tf.Tensor])),
  };
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("The method lacks a function.");
  return value;
}
