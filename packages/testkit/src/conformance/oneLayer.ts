import { float32, PeftModel } from "@peftjs/core";
import type { BaseModel, ForwardOptions, HostTensor, Method, Named } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { expect } from "vitest";
import { tol } from "../close.ts";
import { linearSite } from "../sites.ts";
import { perturb } from "./run.ts";

type Matrix = readonly (readonly number[])[];

export interface OneLayerOptions {
  /** [out, in]. */
  readonly weight: Matrix;
  readonly config?: Readonly<Record<string, unknown>>;
  /** By short name; the others are as the method starts them. */
  readonly params?: Readonly<Record<string, Matrix | readonly number[]>>;
}

/** An adapter on a model whose only block has one layer, y = x·Wᵀ. */
export async function oneLayer<Config extends object>(
  method: Method<Config>,
  { weight, config = {}, params = {} }: OneLayerOptions,
): Promise<PeftModel> {
  const path = "block.0.layer";
  const sizes = { inFeatures: (weight[0] as readonly number[]).length, outFeatures: weight.length };
  const base: BaseModel = {
    ...{ name: "one-layer", configJson: {}, modelType: "one-layer", head: { kind: "none" }, headModules: [] },
    ...{ sites: [linearSite({ ...sizes, path, block: 0 })], defaultTargets: ["layer"] },
    parameters: new Map([[`${path}.weight`, host(weight)]]),
    forward: (f, { x }) => ({ y: f.linear(path, x as tf.Tensor) }),
    loss: ({ y }) => tf.mean(y as tf.Tensor),
  };
  const model = new PeftModel(base);
  await model.attach({ method, config: { targetModules: ["layer"], ...config } as object as Partial<Config>, seed: 5 });
  const values = Object.entries(params).map(([name, value]) => [`default.${path}.${name}`, host(value)] as const);
  model.setTrainable(Object.fromEntries(values));
  return model;
}

export interface ResponsesOptions {
  readonly engine: Engine;
  readonly x: Matrix;
  readonly scales: readonly number[];
  readonly response?: ForwardOptions["response"];
}

/** The layer's output for each factor of its response, all from one program. */
export async function responses(
  model: PeftModel,
  { engine, x, scales, response }: ResponsesOptions,
): Promise<readonly (readonly number[])[]> {
  const program = engine.compile(({ frozen = {}, trainable = {}, batch = {} }) => ({
    outputs: model.forward({ frozen, trainable }, batch, { training: false, response }),
  }));
  const values: number[][] = [];
  for (const scale of scales) {
    const batch: Named<HostTensor> = { x: host(x), response_scale: float32([scale], [1]) };
    const { outputs } = await program.run({ frozen: model.frozen(), trainable: model.trainable(), batch });
    values.push([...(outputs?.["y"] as HostTensor).data]);
  }
  await program.dispose();
  return values;
}

/** A layer of three inputs and two outputs, an input of it, and what it makes of that. */
const EXAMPLE = {
  weight: [
    [0.5, -0.25, 0.1],
    [0.2, 0.3, -0.4],
  ],
  x: [[1, 2, -1]],
  y: [-0.1, 1.2],
} as const;

/**
 * What a method without a response of its own adds to a layer is scaled as a whole, y₀ + s·(y₁ − y₀), here for parameters away from
 * their start.
 */
export async function expectScaledResponse<Config extends object>(
  method: Method<Config>,
  { engine, config }: { readonly engine: Engine; readonly config: NonNullable<OneLayerOptions["config"]> },
): Promise<void> {
  const { weight, x, y } = EXAMPLE;
  const model = await oneLayer(method, { weight, config });
  perturb(model, { std: 0.5 });
  const [whole = [], quarter, none] = await responses(model, { engine, x, scales: [1, 0.25, 0] });
  expect(whole).not.toBeAllClose(y, { absolute: 0.1, relative: 0 });
  expect(quarter).toBeAllClose(
    y.map((y0, i) => y0 + 0.25 * ((whole[i] as number) - y0)),
    tol.float32,
  );
  expect(none).toBeAllClose(y, tol.float32);
}

function host(value: Matrix | readonly number[]): HostTensor {
  const [first] = value;
  return float32(
    (value as number[][]).flat(),
    typeof first === "number" ? [value.length] : [value.length, (first as readonly number[]).length],
  );
}
