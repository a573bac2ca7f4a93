import type { HostTensor } from "@peftjs/core";
import { float32 } from "@peftjs/core";
import { ensureTfjs } from "@peftjs/core/internal";
import * as tf from "@tensorflow/tfjs-core";
import { InferenceSession, Tensor } from "onnxruntime-node";
import type { Graph } from "../graph.ts";
import { lower } from "../lower.ts";
import { trace } from "../trace/trace.ts";
import { writeModel } from "../writer.ts";
import type { Pass } from "./rewrite.ts";
import { applyPass, withoutDeadNodes } from "./rewrite.ts";

/** Helpers of the tests beside it. */

ensureTfjs();

export type Named = Record<string, tf.Tensor>;
export type Op = (inputs: Named) => tf.Tensor | Named;
export type Inputs = Readonly<Record<string, HostTensor>>;

export function traced(op: Op, inputs: Inputs): Graph {
  return withoutDeadNodes(
    trace(
      ({ in: named = {} }) => {
        const result = op(named as Named);
        return { out: result instanceof tf.Tensor ? { y: result } : result };
      },
      { in: inputs },
    ),
  );
}

/** ∂ Σ w·op / ∂ every float32 input, beside the result itself, with fixed weights w. */
export function withGradients(op: (inputs: Named) => tf.Tensor): Op {
  return (inputs) => {
    const names = Object.keys(inputs).filter((name) => inputs[name]?.dtype === "float32");
    const loss = (...values: tf.Tensor[]): tf.Scalar => {
      const y = op({ ...inputs, ...Object.fromEntries(names.map((name, i) => [name, values[i] as tf.Tensor])) });
      const weighted = tf.sum(tf.mul(y, tf.reshape(tf.cos(tf.range(0, y.size)), y.shape)));
      // tfjs wants the result to depend on every input.
      return values.reduce<tf.Tensor>((sum, value) => tf.add(sum, tf.sum(value)), weighted) as tf.Scalar;
    };
    const { value, grads } = tf.valueAndGrads(loss)(names.map((name) => inputs[name] as tf.Tensor));
    return { value, ...Object.fromEntries(names.map((name, i) => [`d${name}`, grads[i] as tf.Tensor])) };
  };
}

export const kernels = (graph: Graph): string[] => graph.nodes.map(({ kernel }) => kernel);

/** Kernels that are left after one pass. */
export function after(pass: Pass, op: Op, inputs: Inputs): string[] {
  return kernels(applyPass(traced(op, inputs), pass));
}

/** Runs a graph without the runtime's own optimizations. */
export async function evaluate(graph: Graph, inputs: Inputs): Promise<Record<string, ArrayLike<number>>> {
  const lowered = lower(graph);
  const session = await InferenceSession.create(writeModel(lowered), {
    graphOptimizationLevel: "disabled",
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  const feeds = lowered.inputs.map(({ onnxName, name }) => {
    const { dtype, data, shape } = inputs[name] as HostTensor;
    return [onnxName, new Tensor(dtype, data as Float32Array, [...shape])];
  });
  const results = await session.run(Object.fromEntries(feeds) as Record<string, Tensor>);
  await session.release();
  return Object.fromEntries(
    lowered.outputs.map(({ onnxName, name }) => [name, (results[onnxName] as Tensor).data as Float32Array]),
  );
}

/** Multiplications of all matrix products: what the machine spends its time on. */
export function productWork(graph: Graph): number {
  const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
  return graph.nodes
    .filter(({ kernel }) => kernel === "BatchMatMul" || kernel === "Linear")
    .reduce((sum, { inputs: [a], outputs: [y], attributes }) => {
      const inner = a?.shape.at(attributes["transposeA"] === true ? -2 : -1) ?? 0;
      return sum + size(y?.shape ?? []) * inner;
    }, 0);
}

/** Pseudo-random numbers in [−1, 1], the same for the same seed. */
export function random(shape: readonly number[], seed = 1): HostTensor {
  let state = seed;
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1;
  return float32(Float32Array.from({ length: size }, next), shape);
}
