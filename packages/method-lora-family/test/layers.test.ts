import { readFileSync } from "node:fs";
import { createGenerator, float32 } from "@peftjs/core";
import type { HostTensor, LayerSite, Named } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { compiledEngine, eagerEngine } from "@peftjs/testkit";
import { expectSameStart, relativeDifference } from "@peftjs/testkit/conformance";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { lora, LoraConfig } from "../src/index.ts";

type Tensors = Readonly<Record<string, Values>>;
interface Values {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

interface Case {
  readonly kind: "linear" | "conv1d" | "embedding";
  readonly settings: Readonly<Record<string, unknown>>;
  readonly base: Tensors;
  readonly fresh: Tensors;
  readonly params: Tensors;
  readonly x: Values;
  readonly y: Values;
  readonly gradients: Tensors;
  readonly merged: Tensors;
}

/** Written by fixtures/lora/make.py: layers of 7 inputs and 5 outputs (a table of 7 rows), rank 4, α 6. */
const cases = JSON.parse(
  readFileSync(new URL("../../../fixtures/lora/layers.json", import.meta.url), "utf8"),
) as Case[];
const RANK = 4;

/** Ours for a name in Python. */
const short = Object.fromEntries(Object.entries(lora.wire.tensors).map(([name, suffix]) => [suffix, name]));
const field = Object.fromEntries(Object.entries(lora.wire.config).map(([name, key]) => [key, name]));

const host = ({ shape, data }: Values): HostTensor => float32(data, shape);
const hosts = (values: Tensors): Named<HostTensor> =>
  Object.fromEntries(Object.entries(values).map(([name, tensor]) => [short[name]!, host(tensor)]));

function siteOf({ kind, base }: Case): LayerSite {
  const bias = base["bias"] === undefined ? null : "layer.bias";
  return {
    ...{ path: "layer", kind: kind === "embedding" ? "embedding" : "linear", role: "layer", block: null },
    ...{ inFeatures: 7, outFeatures: 5, layout: kind === "linear" ? "out_in" : "in_out", weight: "layer.weight", bias },
  };
}

function configOf({ settings }: Case): LoraConfig {
  const own = Object.entries(settings).map(([key, value]) => [field[key]!, value]);
  return LoraConfig.parse({ rank: RANK, alpha: 6, ...Object.fromEntries(own) });
}

const biasOf = ({ base }: Case): HostTensor | null => (base["bias"] === undefined ? null : host(base["bias"]));

describe.each(cases.map((each) => [`${each.kind} ${JSON.stringify(each.settings)}`, each] as const))(
  "%s",
  (_, given) => {
    const site = siteOf(given);
    const config = configOf(given);

    it("starts at the numbers that torch draws", () => {
      const context = { site, config, generator: createGenerator(11), calibration: undefined };
      const { params } = lora.init!({ ...context, weight: host(given.base["weight"]!), bias: biasOf(given) });
      const expected = hosts(given.fresh);
      expectSameStart(new Map(Object.entries(params)), new Map(Object.entries(expected)));
    });

    it.each([
      ["compiled", compiledEngine],
      ["eager", eagerEngine],
    ] as const)("has Python's output, gradients and merged weight, %s", async (_, settings) => {
      const engine = await createEngine(settings);
      const program = engine.compile(({ base = {}, params = {}, input = {} }) => {
        const weight = base["weight"] as tf.Tensor2D;
        const bias = (base["bias"] ?? null) as tf.Tensor1D | null;
        const names = Object.keys(params);
        const dropout = (x: tf.Tensor2D): tf.Tensor2D => {
          if (given.kind === "embedding") throw new Error("There is nothing to drop from ids");
          return x;
        };
        const layer = (x: tf.Tensor2D): tf.Tensor2D => {
          if (given.kind === "embedding") return tf.gather(weight, x as tf.Tensor as tf.Tensor1D) as tf.Tensor2D;
          return tf.add<tf.Tensor2D>(tf.matMul(x, weight, false, given.kind === "linear"), bias!);
        };
        const forward = (...tensors: tf.Tensor[]): tf.Tensor2D =>
          lora.forward!({
            ...{
              site,
              config,
              weight,
              bias,
              base: layer,
              innermost: true,
              training: true,
              responseScale: null,
              dropout,
            },
            x: input["x"] as tf.Tensor2D,
            params: Object.fromEntries(names.map((name, i) => [name, tensors[i]!])),
          });
        const loss = (...tensors: tf.Tensor[]): tf.Scalar => tf.mul(0.5, tf.sum(tf.square(forward(...tensors))));
        const values = Object.values(params);
        const gradients = tf.grads(loss)(values);
        const { weight: change, bias: shift } = lora.delta!({
          ...{ site, config, params, weight, bias },
          below: { weight, bias },
        });
        return {
          results: {
            y: forward(...values),
            weight: tf.add(weight, change),
            ...(shift === undefined ? {} : { bias: tf.add(bias!, shift) }),
          },
          gradients: Object.fromEntries(names.map((name, i) => [name, gradients[i]!])),
        };
      });
      const x: HostTensor =
        given.kind === "embedding"
          ? { dtype: "int32", shape: given.x.shape, data: Int32Array.from(given.x.data) }
          : host(given.x);
      const base = Object.fromEntries(Object.entries(given.base).map(([name, values]) => [name, host(values)]));
      const { results, gradients } = await program.run({ base, params: hosts(given.params), input: { x } });
      await program.dispose();
      expect(relativeDifference(results!["y"]!.data, given.y.data)).toBeLessThan(1e-5);
      expect(relativeDifference(results!["weight"]!.data, given.merged["weight"]!.data)).toBeLessThan(1e-5);
      if (config.loraBias)
        expect(relativeDifference(results!["bias"]!.data, given.merged["bias"]!.data)).toBeLessThan(1e-5);
      for (const [name, { data }] of Object.entries(hosts(given.gradients)))
        expect(relativeDifference(gradients![name]!.data, data), name).toBeLessThan(1e-5);
    });
  },
);
