import { PeftError } from "@peftjs/core";
import type { LayerSite } from "@peftjs/core";
import { installMatchers, linearSite, tol, useCpuBackend } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { Ia3Config } from "./config.ts";
import { ia3 } from "./method.ts";
import { sideOf, withPlacement } from "./placement.ts";

installMatchers();
beforeAll(() => {
  useCpuBackend();
});

const weight = tf.tensor2d([1, 2, 3, 4, 0, -1], [3, 2]);
const bias = tf.tensor1d([0.1, 0.2, 0.3]);
const x = tf.tensor2d([1, 2], [1, 2]);
const outer = linearSite({ path: "block.0.value", inFeatures: 2, outFeatures: 3, bias: "block.0.value.bias" });
const inner = { ...outer, path: "block.0.output.dense" };
const config = Ia3Config.parse({ targetModules: ["value", "output.dense"], feedforwardModules: ["output.dense"] });

interface Scaled {
  readonly y: tf.Tensor2D;
  readonly merged: { readonly weight: tf.Tensor2D; readonly bias: tf.Tensor1D };
}

/** The layer with its vector, stored one way or the other. `merged.weight` is [out, in]. */
function scaled(site: LayerSite, values: readonly number[]): Scaled {
  const isInner = sideOf(site, config) === "input";
  const l = tf.tensor2d([...values], isInner ? [1, 2] : [3, 1]);
  const turned = (w: tf.Tensor2D): tf.Tensor2D => (site.layout === "in_out" ? tf.transpose(w) : w);
  const stored = { weight: turned(weight), bias };
  const common = { site, config, params: { l }, ...stored };
  const base = (input: tf.Tensor2D): tf.Tensor2D =>
    tf.add(tf.matMul(input, stored.weight, false, site.layout === "out_in"), bias);
  const y = ia3.forward!({
    ...common,
    x,
    base,
    innermost: true,
    training: false,
    responseScale: null,
    dropout: (input) => input,
  });
  const delta = ia3.delta!({ ...common, below: stored });
  const newWeight: tf.Tensor2D = turned(tf.add(stored.weight, delta.weight));
  return { y, merged: { weight: newWeight, bias: delta.bias === undefined ? bias : tf.add(bias, delta.bias) } };
}

describe.each(["out_in", "in_out"] as const)("the printed example, weights stored %s", (layout) => {
  it("of a layer whose output is scaled, its bias included", () => {
    const { y, merged } = scaled({ ...outer, layout }, [2, 0.5, -1]);
    expect(y).toBeAllClose([[10.2, 5.6, 1.7]], tol.float32);
    expect(merged.weight).toBeAllClose([[2, 4], [1.5, 2], [0, 1]], tol.float32); // prettier-ignore
    expect(merged.bias).toBeAllClose([0.2, 0.1, -0.3], tol.float32);
  });

  it("of a layer whose input is scaled, its bias left alone", () => {
    const { y, merged } = scaled({ ...inner, layout }, [2, 0.5]);
    expect(y).toBeAllClose([[4.1, 10.2, -0.7]], tol.float32);
    expect(merged.weight).toBeAllClose([[2, 1], [6, 2], [0, -0.5]], tol.float32); // prettier-ignore
    expect(merged.bias).toBeAllClose(bias, tol.exact);
  });

  it.each([
    ["output", outer, 3],
    ["input", inner, 2],
  ] as const)("with l = 1 on its %s it computes what it did", (_, site, size) => {
    const { y, merged } = scaled({ ...site, layout }, Array<number>(size).fill(1));
    expect(y).toBeAllClose([[5.1, 11.2, -1.7]], tol.float32);
    expect(merged.weight).toBeAllClose(weight, tol.exact);
    expect(merged.bias).toBeAllClose(bias, tol.exact);
  });
});

describe("the start", () => {
  const start = (initIa3Weights: boolean): ArrayLike<number> =>
    ia3.init!({
      ...{ site: outer, config: { ...config, initIa3Weights }, calibration: undefined, bias: null },
      generator: { normal: (size: number) => Float32Array.from({ length: size }, (_, i) => i - 0.5) } as never,
      weight: { dtype: "float32", shape: [3, 2], data: new Float32Array(6) },
    } as never).params["l"]!.data;

  it("is one, or drawn from normal(0, 1)", () => {
    expect([...Array.from(start(true))]).toEqual([1, 1, 1]);
    expect([...Array.from(start(false))]).toEqual([-0.5, 0.5, 1.5]);
  });
});

describe("where the vectors are", () => {
  const resolved = (given: object, modelType: string): Ia3Config => withPlacement(Ia3Config.parse(given), modelType);

  it.each([
    [{}, "llama", ["k_proj", "v_proj", "down_proj"], ["down_proj"]],
    [{}, "qwen3", ["q_proj", "v_proj", "down_proj"], ["down_proj"]],
    [{}, "opt", ["q_proj", "k_proj", "fc2"], ["fc2"]],
    [{}, "mt5", ["k", "v", "wi_1"], []],
    [{ targetModules: ["query", "output.dense"] }, "bert", ["query", "output.dense"], ["output.dense"]],
    [{ targetModules: ["anything"], feedforwardModules: [] }, "unheard-of", ["anything"], []],
  ])("%j on %s", (given, modelType, targetModules, feedforwardModules) => {
    expect(resolved(given, modelType)).toMatchObject({ targetModules, feedforwardModules });
  });

  it("follows a list of endings as the library does, without regard to components, or a whole expression", () => {
    const side = (path: string, feedforwardModules: string | string[]): string =>
      sideOf({ ...outer, path }, { ...config, feedforwardModules });
    expect(side("layer.0.mydense", ["dense"])).toBe("input");
    expect(side("layer.0.dense.key", ["dense"])).toBe("output");
    expect(side("layer.0.dense", "dense")).toBe("output");
    expect(side("layer.0.dense", ".*dense")).toBe("input");
  });

  it.each([
    [{}, "unheard-of", /has no default layers for models of type "unheard-of".*placement: "paper"/u],
    [{ targetModules: ["x"] }, "unheard-of", /both targetModules and feedforwardModules/u],
    [{ placement: "paper" }, "gpt2", /one layer computes together in models of type "gpt2"/u],
  ])("is refused for %j on %s", (given, modelType, message) => {
    const resolve = (): unknown => resolved(given, modelType);
    expect(resolve).toThrow(message);
    expect(resolve).toThrow(PeftError);
  });

  it("wants the names of the inner layers to be among the targets, where both are lists", () => {
    expect(() => Ia3Config.parse({ targetModules: ["key"], feedforwardModules: ["output.dense"] })).toThrow(
      "Expected entries of targetModules",
    );
    Ia3Config.parse({ targetModules: ".*key", feedforwardModules: ["output.dense"] });
  });
});
