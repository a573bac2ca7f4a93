import { createGenerator, float32, parseConfig, weightShape } from "@peftjs/core";
import type { HostTensor, InitResult, LayerSite, Method, Named } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { expect, it } from "vitest";
import { tol } from "../close.ts";
import { compareAllClose } from "../matchers.ts";
import { linearSite } from "../sites.ts";
import { useCpuBackend } from "../tfjs.ts";
import type { Suite } from "./options.ts";
import type { Subject } from "./run.ts";

/** Even sizes: some starts need an even rank, which may not exceed them. */
const size = fc.integer({ min: 4, max: 10 }).map((half) => 2 * half);
const layer = fc.record({
  inFeatures: size,
  outFeatures: size,
  layout: fc.constantFrom("out_in" as const, "in_out" as const),
  bias: fc.boolean(),
  seed: fc.nat(1000),
});

/** A layer of any shape and layout: forward, delta and start fit together. */
export function checkLayer({ suite, subject }: { readonly suite: Suite; readonly subject: Subject }): void {
  const { method } = suite;
  if (method.forward === undefined || method.init === undefined) return;

  it("has the layer's shapes, draws the same for equal seeds, and merges into what it computes", () => {
    useCpuBackend();
    fc.assert(
      fc.property(layer, ({ seed, bias, ...shape }) => {
        const path = "encoder.layer.0.query";
        const site = linearSite({ ...shape, path, block: 0, bias: bias ? `${path}.bias` : null });
        const config = siteConfig(method, site, subject.config);
        const generator = createGenerator(seed);
        const values = (dims: readonly number[]): HostTensor =>
          float32(generator.normal(dims.reduce((a, b) => a * b, 1)), dims);
        const weight = values(weightShape(site));
        const biasValues = bias ? values([site.outFeatures]) : null;
        const start = (): InitResult =>
          (method.init as NonNullable<Method["init"]>)({
            ...{ site, config, weight, bias: biasValues, calibration: undefined },
            generator: createGenerator(seed),
          });
        const first = start();
        expect(start()).toEqual(first);
        const params = Object.fromEntries(
          Object.entries(first.params).map(([name, { shape: dims }]) => [name, values(dims)]),
        );
        compareMerged({
          ...{ method, site, config, x: values([3, site.inFeatures]) },
          params: { ...first.buffers, ...params },
          weight: first.weight ?? weight,
          bias: biasValues,
        });
      }),
      { numRuns: 20 },
    );
  });
}

interface LayerValues {
  readonly method: Method;
  readonly site: LayerSite;
  readonly config: object;
  readonly params: Named<HostTensor>;
  readonly weight: HostTensor;
  readonly bias: HostTensor | null;
  readonly x: HostTensor;
}

/** forward(x) = x·(W + ΔW)ᵀ + b + Δb. */
function compareMerged({ method, site, config, ...values }: LayerValues): void {
  tf.tidy(() => {
    const tensor = ({ data, shape, dtype }: HostTensor): tf.Tensor => tf.tensor(data, [...shape], dtype);
    const params = Object.fromEntries(Object.entries(values.params).map(([name, value]) => [name, tensor(value)]));
    const [x, weight] = [tensor(values.x) as tf.Tensor2D, tensor(values.weight) as tf.Tensor2D];
    const bias = values.bias === null ? null : (tensor(values.bias) as tf.Tensor1D);
    const apply = (w: tf.Tensor2D, b: tf.Tensor | null) => (input: tf.Tensor2D) => {
      const y: tf.Tensor2D = tf.matMul(input, w, false, site.layout === "out_in");
      return b === null ? y : tf.add<tf.Tensor2D>(y, b);
    };
    const common = { site, config, params, weight, bias };
    const y = method.forward?.({
      ...{ ...common, x, base: apply(weight, bias), innermost: true, training: false, responseScale: null },
      dropout: (input) => input,
    }) as tf.Tensor2D;
    expect(y.shape).toEqual([x.shape[0], site.outFeatures]);
    if (method.delta === undefined) return;
    const delta = method.delta({ ...common, below: { weight, bias } });
    expect(delta.weight.shape).toEqual(weight.shape);
    const newBias = delta.bias === undefined || bias === null ? bias : tf.add(bias, delta.bias);
    const merged = apply(tf.add(weight, delta.weight), newBias)(x);
    // Sums of up to forty products of normal numbers.
    const { pass, message } = compareAllClose(y, merged, { absolute: 1e-4, relative: tol.deep.relative });
    expect(pass, message()).toBe(true);
  });
}

function siteConfig(method: Method, site: LayerSite, given: object): object {
  const config = parseConfig(method, given);
  return method.siteConfig?.({ site, config }) ?? config;
}
