import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { added, tinyModel } from "../test/tiny.ts";
import { peft } from "./index.ts";
import type { HostTensor, Method } from "./index.ts";

it("a delta that updates the weight in places leaves the base model as it is", async () => {
  const name = "body.layer.0.query.weight";
  const method: Method = {
    ...added,
    delta: ({ weight }) => {
      const updated = tf.tensorScatterUpdate(weight, tf.tensor2d([[0]], [1, 1], "int32"), tf.fill([1, 4], 7));
      return { weight: tf.sub(updated, weight) as tf.Tensor2D };
    },
  } as Method;
  const base = tinyModel();
  const before = (base.parameters.get(name) as HostTensor).data.slice();
  const held = tf.memory().numTensors;
  const model = await peft(base)
    .use(method, { targetModules: ["0.query"] })
    .apply();
  model.merge();
  expect((base.parameters.get(name) as HostTensor).data).toEqual(before);
  const merged = Object.values(model.frozen()).find(
    ({ shape, data }) => shape.join() === "4,4" && data.slice(0, 4).every((value) => Math.abs(value - 7) < 1e-6),
  );
  expect(merged?.data.slice(4)).toEqual(before.slice(4));
  expect(tf.memory().numTensors).toBe(held);
  model.unmerge();
  expect((base.parameters.get(name) as HostTensor).data).toEqual(before);
});
