import { float32, zeros } from "@peftjs/core";
import type { HostTensor, Named, TrackContext } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import type { AdaloraConfig } from "./config.ts";
import { averageImportance } from "./layer.ts";

const SCORED = ["a", "b", "e"] as const;

/** Names of the averages of a parameter among a layer's state. */
export function stateNames(parameter: (typeof SCORED)[number]): { sensitivity: string; uncertainty: string } {
  return { sensitivity: `${parameter}Sensitivity`, uncertainty: `${parameter}Uncertainty` };
}

/**
 * What a run knows of a layer: averages of importance; `mask` [R], 0 for a triplet that is out; `counting` [1], whether the next step
 * enters the averages; `totalSteps` [1] of the schedule, 0 until it is known.
 */
export function initialState(params: Readonly<Record<"a" | "b" | "e", HostTensor>>): Named<HostTensor> {
  const averages = SCORED.flatMap((name) =>
    Object.values(stateNames(name)).map((short) => [short, zeros(params[name].shape)]),
  );
  const rank = params.e.data.length;
  return {
    ...(Object.fromEntries(averages) as Named<HostTensor>),
    mask: float32(new Float32Array(rank).fill(1), [rank]),
    counting: float32([1], [1]),
    totalSteps: zeros([1]),
  };
}

/** The averages after a step, or as they were when the step no longer counts. */
export function trackImportance({
  params,
  gradients,
  state,
  config,
}: TrackContext<AdaloraConfig>): Record<string, tf.Tensor> {
  const { counting } = state;
  if (counting === undefined) return {};
  const counts = tf.greater(counting, 0.5);
  const next: Record<string, tf.Tensor> = {};
  for (const name of SCORED) {
    const [parameter, gradient] = [params[name], gradients[name]];
    if (parameter === undefined || gradient === undefined) continue;
    const names = stateNames(name);
    const before = { sensitivity: state[names.sensitivity]!, uncertainty: state[names.uncertainty]! };
    const after = averageImportance({ ...before, parameter, gradient, beta1: config.beta1, beta2: config.beta2 });
    next[names.sensitivity] = tf.where(counts, after.sensitivity, before.sensitivity);
    next[names.uncertainty] = tf.where(counts, after.uncertainty, before.uncertainty);
  }
  return next;
}
