import { float32, parseConfig } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { beforeAll, describe, expect, it } from "vitest";
import { adamW } from "../src/optim/adamw.ts";
import type { Optimizer } from "../src/optim/optimizer.ts";
import { sgd } from "../src/optim/sgd.ts";
import { initialState } from "../src/optim/tensors.ts";
import { attentionRates } from "../src/plugins/attentionRates.ts";
import { schedule } from "../src/schedule.ts";
import { onLayer } from "./parameters.ts";

const layers = { q: onLayer("self.query", "a"), v: onLayer("self.value", "a"), k: onLayer("self.key", "a") };
type Layer = keyof typeof layers;
const config = parseConfig(attentionRates, { lambda: 4 });
const paramGroups = ({ name }: { readonly name: string }) =>
  attentionRates.parameterGroup!(layers[name as Layer], config);

describe.each(["eager", "onnx"] as const)("attention rates in an optimizer (%s)", (kind) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine(kind === "eager" ? { kind, backend: "cpu" } : { kind, threads: 1 });
  });

  interface Run {
    readonly optimizer: Optimizer;
    readonly start: number;
    readonly gradients: readonly number[];
    readonly rateAt: (step: number) => number;
  }

  /** Scalars q, k, v after each step; all have the same gradient. */
  async function trajectory({ optimizer, start, gradients, rateAt }: Run): Promise<Record<Layer, number>[]> {
    const all = (value: number): Named<HostTensor> =>
      Object.fromEntries(Object.keys(layers).map((name) => [name, float32([value], [1])]));
    const groups = Object.fromEntries(Object.keys(layers).map((name) => [name, optimizer.group({ name, shape: [1] })]));
    const program = engine.compile(({ params = {}, grads = {}, state = {}, scalars = {} }) => {
      const updated = optimizer.update({ params, grads, groups, state, scalars, gradientScale: null });
      return { params: updated.params, state: updated.state };
    });
    let params = all(start);
    let state = initialState(optimizer, params);
    const visited: Record<Layer, number>[] = [];
    for (const [i, gradient] of gradients.entries()) {
      const scalars = optimizer.scalars(i + 1, rateAt(i + 1));
      const result = await program.run({ params, grads: all(gradient), state, scalars });
      [params, state] = [result["params"] as Named<HostTensor>, result["state"] ?? {}];
      const values = Object.entries(params).map(([name, { data }]) => [name, data[0] as number]);
      visited.push(Object.fromEntries(values) as Record<Layer, number>);
    }
    await program.dispose();
    return visited;
  }

  const optimizers = {
    adamw: adamW({ beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0, paramGroups }),
    sgd: sgd({ weightDecay: 0, paramGroups }),
  };

  it("has the values of the worked example", async () => {
    const example = { optimizer: optimizers.adamw, gradients: [0.5, -0.25], rateAt: () => 1e-4 };
    const [, one] = await trajectory({ ...example, start: 1 });
    // Half a step of float32 below 1 is 3e-8, twice.
    for (const [name, value] of Object.entries({ q: 0.9998733300598, k: 0.9998733300598, v: 0.9994933202391 }))
      expect(Math.abs(one![name as Layer] - value)).toBeLessThan(7e-8);
    // Without decay a step does not depend on the value, and from 0 float32 has all the digits.
    const [, zero] = await trajectory({ ...example, start: 0 });
    expect(zero!.q / (0.9998733300598 - 1)).toBeCloseTo(1, 6);
    expect(zero!.k).toBe(zero!.q);
    expect(Math.abs(zero!.v / zero!.q - 4)).toBeLessThan(1e-9);
  });

  it.each(["adamw", "sgd"] as const)("keeps the ratio λ at every step of every schedule (%s)", async (name) => {
    const gradients = Array.from({ length: 10 }, (_, i) => Math.cos(i) + 0.1);
    for (const shape of ["constant", "linear", "cosine"] as const) {
      const factor = schedule(shape, { warmupSteps: 2, totalSteps: 12 });
      const rateAt = (step: number): number => 1e-3 * factor(step);
      const visited = await trajectory({ optimizer: optimizers[name], start: 0, gradients, rateAt });
      let before: Record<Layer, number> = { q: 0, k: 0, v: 0 };
      for (const values of visited) {
        expect((values.v - before.v) / (values.q - before.q)).toBeCloseTo(4, 3);
        expect(values.k).toBe(values.q);
        before = values;
      }
    }
  });
});
