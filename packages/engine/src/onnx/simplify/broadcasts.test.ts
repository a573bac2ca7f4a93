import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { dropBroadcasts } from "./broadcasts.ts";
import type { Op } from "./testing.ts";
import { after, random } from "./testing.ts";

const spread: Op = ({ x, y }) => tf.mul(tf.mul(x!, tf.ones([3, 4])), y!);

it("an elementwise operator broadcasts by itself", () => {
  expect(after(dropBroadcasts, spread, { x: random([3, 1]), y: random([3, 4]) })).toEqual(["Multiply"]);
});

it("a broadcast stays where nobody else has the full shape", () => {
  const inputs = { x: random([3, 1]), y: random([4]) };
  expect(after(dropBroadcasts, spread, inputs)).toEqual(["BroadcastTo", "Multiply"]);
});
