import { createGenerator, float32, int32 } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";
import { linearSite } from "@peftjs/testkit";
import { describeOnEngines, relativeDifference } from "@peftjs/testkit/conformance";
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { largest, scatter, sparseProduct } from "../src/index.ts";

const [IN, OUT] = [7, 5];
const generator = createGenerator(3);
const random = (...shape: number[]): HostTensor => float32(generator.normal(shape.reduce((a, b) => a * b)), shape);

interface Case {
  readonly layout: "out_in" | "in_out";
  /** Rows of x: with few of them n·k < out·in, and the gradient is made of columns. */
  readonly rows: number;
  readonly own: boolean;
}

const cases = (["out_in", "in_out"] as const).flatMap((layout) =>
  [2, 20].flatMap((rows) => [true, false].map((own): Case => ({ layout, rows, own }))),
);

function sample({ layout, rows, own }: Case) {
  const indices = largest(generator.normal(IN * OUT), 4);
  const values = { x: random(rows, IN), dy: random(rows, OUT), delta: random(4), weight: random(OUT, IN) };
  const stored =
    layout === "out_in"
      ? values.weight
      : float32(
          Float32Array.from({ length: IN * OUT }, (_, i) => values.weight.data[(i % OUT) * IN + Math.floor(i / OUT)]!),
          [IN, OUT],
        );
  return { ...values, stored, indices, own };
}

/** With loops. */
function expected({ x, dy, delta, weight, indices, own }: ReturnType<typeof sample>) {
  const changed = Float64Array.from(weight.data, (value) => (own ? value : 0));
  indices.forEach((place, j) => (changed[place]! += delta.data[j]!));
  const rows = x.shape[0]!;
  const y = new Float64Array(rows * OUT);
  const dx = new Float64Array(rows * IN);
  const full = new Float64Array(OUT * IN);
  for (let n = 0; n < rows; n++)
    for (let o = 0; o < OUT; o++)
      for (let i = 0; i < IN; i++) {
        y[n * OUT + o]! += x.data[n * IN + i]! * changed[o * IN + i]!;
        dx[n * IN + i]! += dy.data[n * OUT + o]! * changed[o * IN + i]!;
        full[o * IN + i]! += dy.data[n * OUT + o]! * x.data[n * IN + i]!;
      }
  return { y, dx, dDelta: Float64Array.from(indices, (place) => full[place]!) };
}

describeOnEngines("the sparse product", (engine) => {
  it.each(cases)("and its gradients: $layout, $rows rows, own weight: $own", async (each) => {
    const values = sample(each);
    const { stored, indices, own, x, dy, delta } = values;
    const site = linearSite({ inFeatures: IN, outFeatures: OUT, layout: each.layout });
    const program = engine().compile(({ args = {} }) => {
      const run = (input: tf.Tensor, change: tf.Tensor): tf.Tensor =>
        sparseProduct(
          input as tf.Tensor2D,
          { values: change as tf.Tensor1D, indices: args["indices"] as tf.Tensor1D },
          { site, weight: own ? (args["stored"] as tf.Tensor2D) : null },
        );
      const [dx, dDelta] = tf.grads(run)([args["x"]!, args["delta"]!], args["dy"]!);
      return { results: { y: run(args["x"]!, args["delta"]!), dx: dx!, dDelta: dDelta! } };
    });
    const before = stored.data.slice();
    const { results = {} } = await program.run({ args: { stored, x, dy, delta, indices: int32(indices, [4]) } });
    await program.dispose();
    for (const [name, target] of Object.entries(expected(values)))
      expect(relativeDifference(results[name]!.data, target), name).toBeLessThan(1e-6);
    expect(stored.data).toEqual(before);
  });

  it("scatters onto zeros that change no number, and gathers the gradient", async () => {
    const program = engine().compile(({ args = {} }) => {
      const run = (values: tf.Tensor): tf.Tensor =>
        scatter({ values: values as tf.Tensor1D, indices: args["indices"] as tf.Tensor1D }, 5);
      return {
        results: {
          sum: tf.add(args["bias"]!, run(args["values"]!)),
          gradient: tf.grad(run)(args["values"]!, args["bias"]!),
        },
      };
    });
    const { results = {} } = await program.run({
      args: { bias: float32([-0, 1, 2, 3, 0], [5]), values: float32([10, 20], [2]), indices: int32([1, 3], [2]) },
    });
    await program.dispose();
    expect([...results["sum"]!.data]).toEqual([-0, 11, 2, 23, 0]);
    expect([...results["gradient"]!.data]).toEqual([1, 3]);
  });
});
