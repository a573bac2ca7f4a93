import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { partsAsSlices } from "./parts.ts";
import { applyPass } from "./rewrite.ts";
import type { Op } from "./testing.ts";
import { evaluate, kernels, random, traced } from "./testing.ts";

const inputs = { x: random([2, 3, 4]) };
const zeros = (shape: number[]): tf.Tensor => tf.tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);

it.each<[string, Op, string[]]>([
  ["a part of a division", ({ x }) => tf.split(x!, [1, 3], 2)[1] as tf.Tensor, ["Slice"]],
  ["one row of all", ({ x }) => tf.unstack(x!, 1)[2] as tf.Tensor, ["Slice", "Reshape"]],
  ["zeros around a part", ({ x }) => tf.concat([zeros([2, 1, 4]), x!, zeros([2, 2, 4])], 1), ["PadV2"]],
  ["rows of zeros below one", ({ x }) => tf.stack([x!, zeros([2, 3, 4])], -1), ["Reshape", "PadV2"]],
])("%s is a slice or a padding", async (_, op, expected) => {
  const graph = traced(op, inputs);
  const simplified = applyPass(graph, partsAsSlices);
  expect(kernels(simplified)).toEqual(expected);
  expect(await evaluate(simplified, inputs)).toEqual(await evaluate(graph, inputs));
});

it.each<[string, Op, string[]]>([
  ["two parts are read", ({ x }) => tf.sub(...(tf.split(x!, 2, 2) as [tf.Tensor, tf.Tensor])), ["SplitV", "Sub"]],
  ["two parts are no zeros", ({ x }) => tf.concat([x!, x!, zeros([2, 3, 4])], 1), ["Concat"]],
])("nothing changes where %s", (_, op, expected) => {
  expect(kernels(applyPass(traced(op, inputs), partsAsSlices))).toEqual(expected);
});
