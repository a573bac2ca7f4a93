import { float32 } from "@peftjs/core";
import type { Engine, TensorFunction } from "@peftjs/engine";
import { createEngine } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { hardSwish, registerHardSwish } from "./hardSwish.ts";

registerHardSwish();

/** y = hardSwish(x) and ∂Σy/∂x. */
const withGradient: TensorFunction = ({ data }) => {
  const { value, grad } = tf.valueAndGrad((x: tf.Tensor) => tf.sum(hardSwish(x)))(data!["x"]!);
  return { out: { y: hardSwish(data!["x"]!), sum: value, gradient: grad } };
};

async function run(engine: Engine): Promise<Record<string, number[]>> {
  const compiled = engine.compile(withGradient);
  const { out } = await compiled.run({ data: { x: float32([-4, -3, -1.5, 0, 1, 2.5, 3, 5], [8]) } });
  await compiled.dispose();
  return Object.fromEntries(Object.entries(out!).map(([name, { data }]) => [name, Array.from(data)]));
}

const eager = await run(await createEngine({ kind: "eager", backend: "cpu" }));
const onnx = await run(await createEngine({ kind: "onnx" }));
for (const name of Object.keys(eager)) {
  const difference = Math.max(...eager[name]!.map((value, i) => Math.abs(value - onnx[name]![i]!)));
  console.log(`${name}: ${eager[name]!.map((value) => value.toFixed(3)).join(" ")} (largest difference ${difference})`);
  if (!(difference < 1e-5)) throw new Error(`The engines disagree on ${name}.`);
}
