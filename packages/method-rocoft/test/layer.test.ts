import { createGenerator } from "@peftjs/core";
import { installMatchers, tol, useCpuBackend } from "@peftjs/testkit";
import { adamW, initialState } from "@peftjs/train";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { asTensors, attach, lossAndGradients, type Attached, type SingleLayer } from "./singleLayer.ts";

installMatchers();
beforeAll(useCpuBackend);

const layer = {
  weight: [
    [1, 2, 0, -1],
    [0, 1, 3, 2],
    [-2, 0, 1, 1],
  ],
  bias: [0.5, -0.5, 0],
};
const x = (): tf.Tensor2D =>
  tf.tensor2d([
    [1, 0, 2, -1],
    [0, 1, -1, 2],
  ]);
const FORWARDS = ["split", "materialised"] as const;
const LAYOUTS = ["out_in", "in_out"] as const;
/** Sums of up to ten products of normal numbers, of up to six tokens. */
const SUMS = { absolute: 1e-5, relative: 1e-5 };

/** One SGD step at 0.1. */
function stepped(attached: Attached): Record<string, tf.Tensor> {
  const { gradients } = lossAndGradients(attached, x());
  const start = asTensors(attached.trainable);
  return Object.fromEntries(
    Object.entries(gradients).map(([name, gradient]) => [
      name,
      tf.sub(start[name] as tf.Tensor, tf.mul(gradient, 0.1)),
    ]),
  );
}

describe.each(FORWARDS)("the worked example, %s", (forward) => {
  describe.each(LAYOUTS)("weights stored %s", (layout) => {
    describe.each(["delta", "absolute"])("%s", (parameterisation) => {
      const given = { ...layer, layout };
      const common = { forward, parameterisation };

      it("starts as the layer itself, with its gradients", () => {
        const dw = [
          [2.5, 0.5, 4.5, -1.5],
          [3.5, 1.5, 5.5, -0.5],
          [-1, 1, -3, 3],
        ];
        const cases = [
          [{ rank: 3 }, dw],
          [{ rank: 1 }, dw.slice(0, 1)],
          [{ mode: "column", rank: 4 }, dw],
          [{ mode: "column", indices: { query: [3, 1] } }, dw.map((row) => [row[1], row[3]] as number[])],
          [
            {
              mode: "entries",
              indices: {
                query: [
                  [2, 0],
                  [0, 3],
                ],
              },
              count: 2,
            },
            [-1.5, -1],
          ],
        ] as const;
        for (const [settings, expected] of cases) {
          const attached = attach({ ...common, ...settings }, given);
          expect(attached.forward(x())).toBeAllClose(
            [
              [2.5, 3.5, -1],
              [0.5, 1.5, 1],
            ],
            tol.exact,
          );
          const { loss, dx, gradients } = lossAndGradients(attached, x());
          expect(loss).toBe(11.5);
          expect(dx).toBeAllClose(
            [
              [4.5, 8.5, 9.5, 3.5],
              [-1.5, 2.5, 5.5, 3.5],
            ],
            tol.exact,
          );
          expect(gradients["biasDelta"]).toBeAllClose([3, 5, 0], tol.exact);
          expect(gradients[parameterisation === "delta" ? "delta" : "slice"]).toBeAllClose(expected, tol.exact);
        }
      });

      it.each([
        ["row", 1, { 0: [0.75, 1.95, -0.45, -0.85] }, 6.81, 9.69],
        ["row", 2, { 1: [-0.35, 0.85, 2.45, 2.05] }, 4.06, 6.44],
        ["column", 1, { 0: [0.75, -0.35, -1.9] }, 6.8375, 9.6475],
        ["column", 2, { 1: [1.95, 0.85, -0.1] }, 6.595, 9.315],
      ] as const)("after one step of SGD: %s, r = %i", (mode, rank, changed, loss, lossWithoutBias) => {
        const attached = attach({ ...common, mode, rank }, given);
        const params = stepped(attached);
        const { weight, bias } = attached.weights(params);
        expect(bias).toBeAllClose([0.2, -1, 0], tol.float32);
        const lines: tf.Tensor2D = mode === "row" ? weight : tf.transpose(weight);
        for (const [line, values] of Object.entries(changed))
          expect(tf.gather(lines, Number(line))).toBeAllClose(values, tol.float32);
        const untouched = tf.slice(lines, [rank, 0]);
        const original = tf.tensor2d(layer.weight);
        expect(untouched).toBeAllClose(
          tf.slice(mode === "row" ? original : tf.transpose(original), [rank, 0]),
          tol.exact,
        );
        expect(lossAndGradients(attached, x(), params).loss).toBeCloseTo(loss, 5);
        const bare = attach({ ...common, mode, rank, bias: "none" }, given);
        expect(Object.keys(bare.trainable)).toEqual([parameterisation === "delta" ? "delta" : "slice"]);
        expect(lossAndGradients(bare, x(), stepped(bare)).loss).toBeCloseTo(lossWithoutBias, 5);
      });
    });

    it.each([
      [
        { indices: { query: [2] } },
        [[0.1, -0.2, 0.3, 0.4]],
        [
          [2.5, 3.5, -0.7],
          [0.5, 1.5, 1.3],
        ],
      ],
      [
        { mode: "column", indices: { query: [1, 3] } },
        [
          [0.1, 0.5],
          [-0.2, 0],
          [0.3, -1],
        ],
        [
          [2, 3.5, 0],
          [1.6, 1.3, -0.7],
        ],
      ],
    ] as const)("computes what merging gives: %j", (settings, d, expected) => {
      const attached = attach({ ...settings, forward }, { ...layer, layout });
      const params = { delta: tf.tensor2d(d.map((row) => [...row])) };
      for (const innermost of [true, false])
        expect(attached.forward(x(), params, innermost)).toBeAllClose(expected, tol.float32);
      expect(attached.merged(x(), params)).toBeAllClose(expected, tol.float32);
    });
  });
});

it.each([
  ["absolute", [0.989, 1.988, -0.01, -0.989]],
  ["delta", [0.99, 1.99, -0.01, -0.99]],
])("weight decay pulls to zero or to the pre-trained values: %s", (parameterisation, expected) => {
  const attached = attach({ rank: 1, parameterisation }, layer);
  const { gradients } = lossAndGradients(attached, x());
  const params = asTensors(attached.trainable);
  const optimizer = adamW({ weightDecay: 0.1 });
  const specs = Object.entries(attached.trainable).map(([name, { shape }]) => ({ name, shape }));
  const updated = optimizer.update({
    ...{ params, grads: gradients, gradientScale: null },
    groups: Object.fromEntries(specs.map((spec) => [spec.name, optimizer.group(spec)])),
    state: asTensors(initialState(optimizer, attached.trainable)),
    scalars: asTensors(optimizer.scalars(1, 0.01)),
  });
  expect(tf.gather(attached.weights(updated.params).weight, 0)).toBeAllClose(expected, tol.float32);
  // Biases do not decay.
  expect(attached.weights(updated.params).bias).toBeAllClose([0.49, -0.51, 0], tol.float32);
});

interface Drawn {
  readonly settings: Readonly<Record<string, unknown>>;
  readonly given: SingleLayer;
  readonly input: number[][];
}

/** A layer of some shape, with some rows or columns of it. */
function draw(seed: number): Drawn {
  const generator = createGenerator(seed);
  const upTo = (n: number): number => 1 + (generator.next32() % n);
  const matrix = (rows: number, columns: number): number[][] =>
    Array.from({ length: rows }, () => Array.from(generator.normal(columns)));
  const [inFeatures, outFeatures, rank, tokens] = [upTo(9), upTo(9), upTo(9), upTo(6)];
  const weight = matrix(outFeatures, inFeatures);
  return {
    settings: {
      rank,
      mode: (["row", "column"] as const)[upTo(2) - 1],
      select: ["first", "last", "uniform", "random"][upTo(4) - 1],
    },
    given: { weight, bias: Array.from(generator.normal(outFeatures)), layout: LAYOUTS[upTo(2) - 1] ?? "out_in" },
    input: matrix(tokens, inFeatures),
  };
}

it("both ways of computing a layer agree, gradients included, for any shape and indices", () => {
  for (let seed = 0; seed < 80; seed++) {
    tf.tidy(() => {
      const { settings, given, input } = draw(seed);
      const generator = createGenerator(seed + 1);
      const attached = FORWARDS.map((forward) => attach({ ...settings, forward }, given));
      const params = Object.fromEntries(
        Object.entries(attached[0]?.trainable ?? {}).map(([name, { shape, data }]) => [
          name,
          tf.tensor(generator.normal(data.length), [...shape]),
        ]),
      );
      const x2 = tf.tensor2d(input);
      const [one, other] = attached.map((either) => lossAndGradients(either, x2, params));
      const outputs = attached.map((either) => either.forward(x2, params));
      expect(outputs[0]).toBeAllClose(outputs[1] as tf.Tensor, SUMS);
      expect(attached[0]?.merged(x2, params)).toBeAllClose(outputs[1] as tf.Tensor, SUMS);
      for (const [name, gradient] of Object.entries(one?.gradients ?? {}))
        expect(gradient).toBeAllClose(other?.gradients[name] as tf.Tensor, SUMS);
      expect(one?.dx).toBeAllClose(other?.dx as tf.Tensor, SUMS);
    });
  }
});
