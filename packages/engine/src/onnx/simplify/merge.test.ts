import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { mergeEqualCalls } from "./merge.ts";
import { after, random } from "./testing.ts";

const x = random([3, 4]);

it("equal calls are made once, whichever way a shape was asked for", () => {
  expect(after(mergeEqualCalls(), ({ x }) => tf.add(tf.exp(x!), tf.exp(x!)), { x })).toEqual(["Exp", "Add"]);
  expect(after(mergeEqualCalls(), ({ x }) => tf.add(tf.reshape(x!, [2, -1]), tf.reshape(x!, [2, 6])), { x })).toEqual([
    "Reshape",
    "Add",
  ]);
});

it("calls that differ in an attribute are told apart", () => {
  const op = ({ x }: Record<string, tf.Tensor>): tf.Tensor => tf.add(tf.sum(x!, 0, true), tf.sum(x!, 1, true));
  expect(after(mergeEqualCalls(), op, { x })).toEqual(["Sum", "Sum", "Add"]);
});
