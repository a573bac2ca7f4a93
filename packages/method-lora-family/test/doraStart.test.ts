import { createGenerator, float32 } from "@peftjs/core";
import type { ForwardContext } from "@peftjs/core";
import { installMatchers, useCpuBackend } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { lora } from "../src/lora/method.ts";
import { DoraConfig } from "../src/dora/config.ts";
import { dora } from "../src/dora/method.ts";
import { call, close, config, flat, gradients, init, layers, own, site, started, tensor } from "./doraLayers.ts";
import type { Values } from "./doraLayers.ts";

installMatchers();
beforeAll(() => {
  useCpuBackend();
});

const untouched = { ...dora, forward: ({ base, x }: ForwardContext<DoraConfig>) => base(x) };

describe("the start", () => {
  const starts = [true, false, "gaussian", "orthogonal", "pissa", "pissa_niter_8", "olora"] as const;

  it.each(starts)("has m = ‖W + s·B·A‖ and so is LoRA's, initLoraWeights %s", (initLoraWeights) => {
    const layer = layers.linear;
    const values = started(layer, init(site, { initLoraWeights }, layer));
    const method = lora as unknown as typeof dora;
    const before = initLoraWeights === false ? call(values, { method }) : call(own(layer), { method: untouched });
    expect(call(values).dataSync()).toBeAllClose(before.dataSync() as Float32Array, { absolute: 1e-5, relative: 1e-5 });
    // With m frozen, the first gradient is LoRA's as well.
    const gradientsOf = (chosen: typeof dora): Values =>
      gradients(values, ["a", "b"], (given) => tf.sum(tf.mul(call(given, { method: chosen }), tensor(layer.dy))));
    const [ours, theirs] = [gradientsOf(dora), gradientsOf(method)];
    for (const key of ["a", "b"])
      expect(ours[key]!.dataSync(), key).toBeAllClose(theirs[key]!.dataSync() as Float32Array, close);
  });

  it("that takes factors out of the weight becomes a DoRA of the whole weight in its file", () => {
    const layer = layers.linear;
    const settings = { ...config, initLoraWeights: "olora" } as const;
    const start = init(site, settings, layer);
    const noise = createGenerator(5).normal(start.params["b"]!.data.length);
    const moved = float32(
      start.params["b"]!.data.map((value, i) => value + noise[i]!) as Float32Array,
      start.params["b"]!.shape,
    );
    const params = { ...start.params, b: moved };
    const form = dora.file!({
      config: settings,
      sites: [{ site, config: settings, params, state: start.state ?? {} }],
      native: false,
    });
    const plain = started(layer, { params: form.params.get("layer")! });
    const expected = call(started(layer, { ...start, params })).dataSync() as Float32Array;
    expect(call(plain, { config: form.config }).dataSync()).toBeAllClose(expected, { absolute: 1e-5, relative: 1e-5 });
    expect(form.config.rank).toBe(4);
  });

  it("leaves a row of zeros as it is", () => {
    const rows = layers.linear.weight as number[][];
    const layer = { ...layers.linear, weight: rows.map((row, i) => (i === 1 ? row.map(() => 0) : row)) };
    const y = call(started(layer, init(site, {}, layer)));
    expect([...y.dataSync()].every(Number.isFinite)).toBe(true);
    expect(y.arraySync().map((row) => row[1])).toEqual(Array(3).fill(Math.fround(flat(layer.bias)[1]!)));
  });
});

describe("the config", () => {
  it("refuses a bias of B", () => {
    expect(() => DoraConfig.parse({ loraBias: true })).toThrow("DoRA has no bias of B");
  });
});
