import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { removeIdentities } from "./identities.ts";
import { after, random } from "./testing.ts";
import type { Op } from "./testing.ts";

const x = random([3, 4]);
const left = (op: Op, inputs = { x }): string[] => after(removeIdentities, op, inputs);

describe("remove-identities", () => {
  it("removes what changes nothing", () => {
    expect(left(({ x }) => tf.add(tf.mul(tf.cast(x!, "float32"), 1), 0))).toEqual([]);
    expect(left(({ x }) => tf.sub(tf.div(x!, 1), 0))).toEqual([]);
    expect(left(({ x }) => tf.tile(tf.slice(x!, [0, 0], [3, 4]), [1, 1]))).toEqual([]);
  });

  it("puts together what was only taken apart", () => {
    expect(left(({ x }) => tf.concat(tf.split(x!, 2, 1), 1))).toEqual([]);
    expect(left(({ x }) => tf.concat(tf.split(x!, [1, 3], -1), -1))).toEqual([]);
    expect(left(({ x }) => tf.stack(tf.unstack(x!, 1), 1))).toEqual([]);
    expect(left(({ x }) => tf.split(x!, [4], 1)[0] as tf.Tensor)).toEqual([]);
  });

  it("keeps parts in another order, along another axis, or with one missing", () => {
    expect(left(({ x }) => tf.concat(tf.split(x!, 2, 1).reverse(), 1))).toEqual(["SplitV", "Concat"]);
    expect(left(({ x }) => tf.concat(tf.split(x!, 2, 1), 0))).toEqual(["SplitV", "Concat"]);
    expect(left(({ x }) => tf.concat(tf.split(x!, 4, 1).slice(1), 1))).toEqual(["SplitV", "Concat"]);
    expect(left(({ x }) => tf.stack(tf.unstack(x!, 1), 0))).toEqual(["Unpack", "Pack"]);
  });

  it("keeps a constant that makes the result larger, and x − x", () => {
    expect(left(({ x }) => tf.mul(x!, tf.ones([3, 4])), { x: random([4]) })).toEqual(["Multiply"]);
    expect(left(({ x }) => tf.sub(0, x!))).toEqual(["Sub"]);
    expect(left(({ x }) => tf.sub(x!, x!))).toEqual(["Sub"]);
  });
});
