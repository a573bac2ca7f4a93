import type * as tf from "@tensorflow/tfjs-core";
import { onHost } from "./gradients.ts";
import { toHost, toTensor } from "./hostTensors.ts";
import type { HostTensor, Named, StoredTensor } from "./tensors.ts";

type Groups<T> = Readonly<Record<string, Named<T>>>;

/** Runs tensor functions. The engines of `@peftjs/engine` are runners. */
export interface TensorRunner {
  compile(
    fn: (args: Groups<tf.Tensor>) => Groups<tf.Tensor>,
    options?: { readonly constant?: readonly string[] },
  ): Program;
}

/** A compiled tensor function. */
export interface Program {
  run(args: Groups<StoredTensor>): Promise<Groups<HostTensor>>;
  dispose(): void | Promise<void>;
}

/** Calls the function as it is, on the active tfjs backend. */
export const hostRunner: TensorRunner = {
  compile: (fn) => ({
    // Asynchronous, so that what the function throws arrives as with any other runner.
    run: async (args) => onHost(() => mapGroups(fn(mapGroups(args, toTensor)), toHost)),
    dispose: () => undefined,
  }),
};

function mapGroups<T, U>(groups: Groups<T>, map: (value: T) => U): Groups<U> {
  const inside = (group: Named<T>) =>
    Object.fromEntries(Object.entries(group).map(([name, value]) => [name, map(value)]));
  return Object.fromEntries(Object.entries(groups).map(([name, group]) => [name, inside(group)]));
}
