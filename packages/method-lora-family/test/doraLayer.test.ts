import { installMatchers, useCpuBackend } from "@peftjs/testkit";
import type { Named } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { loraDelta } from "../src/lora/layer.ts";
import { lora } from "../src/lora/method.ts";
import { DoraConfig } from "../src/dora/config.ts";
import { rowNorm } from "../src/dora/layer.ts";
import type { dora } from "../src/dora/method.ts";
import {
  call,
  close,
  config,
  factors,
  flat,
  gradients,
  init,
  layers,
  mergedWeight,
  own,
  site,
  table,
  tensor,
  transposed,
} from "./doraLayers.ts";
import type { Call, Values } from "./doraLayers.ts";

installMatchers();
beforeAll(() => {
  useCpuBackend();
});

describe("the worked example", () => {
  const values = (): Values => ({
    weight: tf.tensor2d([1, 2, 3, 4, 0, -1], [3, 2]),
    bias: tf.tensor1d([0.1, 0.2, 0.3]),
    x: tf.tensor2d([1, 2], [1, 2]),
    a: tf.tensor2d([0.5, -1], [1, 2]),
    b: tf.tensor2d([0.2, -0.4, 1], [3, 1]),
    magnitude: tf.tensor1d([Math.sqrt(5), 5, 1]),
  });
  const worked = (detachNorm: boolean): Call => ({ config: DoraConfig.parse({ rank: 1, alpha: 2, detachNorm }) });
  const gradientsOf = (detachNorm: boolean): Values =>
    gradients(values(), ["a", "b", "magnitude"], (given) =>
      tf.mul(0.5, tf.sum(tf.square(call(given, worked(detachNorm))))),
    );

  it("gives the output, whether or not the gradient sees the norm", () => {
    const { a, b, weight } = values() as Named<tf.Tensor2D>;
    const norm = rowNorm({ a: a!, b: b!, weight: weight!, scale: 2, layout: "out_in" });
    expect(norm.dataSync()).toBeAllClose([2, 5.45893763, 3.16227766], close);
    for (const detachNorm of [true, false])
      expect(call(values(), worked(detachNorm)).dataSync()).toBeAllClose([5.01934955, 11.37433541, -1.28113883], close);
  });

  it("gives the gradients with the norm as a constant", () => {
    const { a, b, magnitude } = gradientsOf(true);
    expect(a!.dataSync()).toBeAllClose([-6.90001011, -13.80002021], close);
    expect(b!.dataSync()).toBeAllClose([-16.8354102, -31.25425547, 1.21539501], close);
    expect(magnitude!.dataSync()).toBeAllClose([11.04256901, 25.42012778, 2.02565835], close);
  });

  it("gives the gradients through the norm", () => {
    const { a, b, magnitude } = gradientsOf(false);
    expect(a!.dataSync()).toBeAllClose([-1.39671998, -0.15726589], close);
    expect(b!.dataSync()).toBeAllClose([-4.48944272, -1.39840069, -0.20256584], close);
    expect(magnitude!.dataSync()).toBeAllClose([11.04256901, 25.42012778, 2.02565835], close);
  });
});

describe.each([
  ["linear", site],
  ["conv1d", transposed],
] as const)("a layer of the Python library, %s", (name, at) => {
  const layer = layers[name];

  it("gives its output, also on top of another layer's function", () => {
    const values = { ...own(layer), ...factors(layer) };
    expect(call(values, { site: at }).dataSync()).toBeAllClose(flat(layer.y), close);
    const other = tensor(layer.dy) as tf.Tensor2D;
    const product = tf.matMul(values["x"]!, values["weight"]!, false, at.layout === "out_in");
    const expected = tf.sub(tf.add(other, tensor(layer.y)), tf.add(product, values["bias"]!));
    expect(call(values, { site: at, base: () => other }).dataSync()).toBeAllClose(
      expected.dataSync() as Float32Array,
      close,
    );
  });

  it("gives its gradients", () => {
    const names = ["a", "b", "magnitude", "x"] as const;
    const found = gradients({ ...own(layer), ...factors(layer) }, names, (given) =>
      tf.sum(tf.mul(call(given, { site: at }), tensor(layer.dy))),
    );
    for (const key of names) expect(found[key]!.dataSync(), key).toBeAllClose(flat(layer.grad[key]), close);
  });

  it("gives its merged weight and its magnitudes at the start", () => {
    expect(mergedWeight({ ...own(layer), ...factors(layer) }, at).dataSync()).toBeAllClose(flat(layer.merged), close);
    const start = init(at, { initLoraWeights: true }, layer);
    expect(start.params["magnitude"]!.data).toBeAllClose(flat(layer["fresh magnitude"]), close);
  });
});

describe("dropout", () => {
  const layer = layers.dropout;
  const values = (): Values => ({ ...own(layer), ...factors(layer) });

  it("takes the change from the dropped input and the layer from the whole one", () => {
    const mask = tensor(layer.mask!);
    const dropping = { config: { ...config, dropout: 0.4 }, mask };
    expect(call(values(), dropping).dataSync()).toBeAllClose(flat(layer.y), close);
    const names = ["a", "b", "magnitude", "x"] as const;
    const found = gradients(values(), names, (given) => tf.sum(tf.mul(call(given, dropping), tensor(layer.dy))));
    for (const key of names) expect(found[key]!.dataSync(), key).toBeAllClose(flat(layer.grad[key]), close);
  });

  it("is nothing in evaluation", () => {
    const { y, evaluated } = layer;
    const result = call(values(), { config: { ...config, dropout: 0.4 } }).dataSync();
    expect(result).toBeAllClose(flat(evaluated), close);
    expect(result).not.toBeAllClose(flat(y), { absolute: 0.1, relative: 0 });
  });
});

describe("two adapters on one layer", () => {
  const { two } = layers;

  it("add their changes of the same weight, unlike the Python library, whose second scales what the first gave", () => {
    const { weight, x, bias } = own(two);
    const [one, other] = [factors(two.adapters.one), factors(two.adapters.two)];
    const first = (): tf.Tensor2D => call({ ...own(two), ...one });
    const both = call({ ...own(two), ...other }, { base: first });
    const sum = tf.sub(tf.add(tensor(two.adapters.one.merged), tensor(two.adapters.two.merged)), weight!);
    const expected = tf.add(tf.matMul(x!, sum, false, true), bias!);
    expect(both.dataSync()).toBeAllClose(expected.dataSync() as Float32Array, close);
    expect(both.dataSync()).not.toBeAllClose(flat(two["in turn"]), { absolute: 0.1, relative: 0 });
  });

  it("do not scale what a plain LoRA adds", () => {
    const values = { ...own(two), ...factors(two.adapters.one) };
    const plain = { ...own(two), ...factors(two.adapters.two) };
    const method = lora as unknown as typeof dora;
    const alone = call(plain, { method });
    const above = call(values, { base: () => alone });
    const below = call(plain, { method, base: () => call(values) });
    expect(above.dataSync()).toBeAllClose(below.dataSync() as Float32Array, close);
  });
});

describe("an embedding", () => {
  it("has one magnitude per dimension, the norm over the vocabulary", () => {
    const weight = tf.randomNormal([5, 4], 0, 1, "float32", 3) as tf.Tensor2D;
    const [embeddingA, embeddingB] = [
      tf.randomNormal([2, 5], 0, 1, "float32", 4),
      tf.randomNormal([4, 2], 0, 1, "float32", 5),
    ];
    const magnitude = tf.tensor1d([1, -2, 0.5, 3]);
    const dense = tf.add(weight, tf.mul(tf.matMul(embeddingA, embeddingB, true, true), 1.5));
    const rows = tf.mul(dense, tf.div(magnitude, tf.norm(dense, 2, 0)));
    const values = { weight, x: tf.tensor1d([3, 0, 3], "int32"), embeddingA, embeddingB, magnitude };
    // Dropout is not for looked-up rows.
    const dropping = { site: table, config: { ...config, dropout: 0.5 }, mask: tf.zeros([3]) };
    const expected = tf.gather(rows, tf.tensor1d([3, 0, 3], "int32")).dataSync() as Float32Array;
    expect(call(values, dropping).dataSync()).toBeAllClose(expected, close);
    expect(mergedWeight(values, table).dataSync()).toBeAllClose(rows.dataSync() as Float32Array, close);
  });
});

describe("the norm", () => {
  it.each(["out_in", "in_out"] as const)("is that of the dense weight, stored %s", (layout) => {
    const weight = tf.randomNormal(layout === "out_in" ? [40, 30] : [30, 40], 0, 0.1, "float32", 1) as tf.Tensor2D;
    const a = tf.randomNormal([8, 30], 0, 1, "float32", 2) as tf.Tensor2D;
    const b = tf.randomNormal([40, 8], 0, 0.3, "float32", 3) as tf.Tensor2D;
    const dense = tf.norm(tf.add(weight, loraDelta({ a, b, scale: 0.7 }, layout)), 2, layout === "out_in" ? 1 : 0);
    const cheap = rowNorm({ a, b, scale: 0.7, weight, layout });
    expect(cheap.dataSync()).toBeAllClose(dense.dataSync() as Float32Array, { absolute: 0, relative: 1e-5 });
  });

  it("is finite where B·A takes W away", () => {
    const weight = tf.tensor2d([0.1, 0.3, 0.7, 0.9], [2, 2]);
    const identity = tf.tensor2d([1, 0, 0, 1], [2, 2]);
    const norm = rowNorm({ a: identity, b: tf.neg(weight), scale: 1, weight, layout: "out_in" });
    expect([...norm.dataSync()].every((value) => Number.isFinite(value) && value > 0)).toBe(true);
  });
});
