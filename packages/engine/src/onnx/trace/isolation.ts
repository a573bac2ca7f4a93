import * as tf from "@tensorflow/tfjs-core";
import { Value } from "../graph.ts";

/**
 * Runs `work` as if nothing else went on in tfjs: with no open scope and no gradient being recorded. Afterwards, whether it failed
 * or not, the former state is back: an operation that throws inside tf.grads leaves its tape and the tensors it saved.
 */
export function isolated<T>(work: () => T): T {
  const { state } = tf.engine();
  const { activeTape, gradientDepth, kernelDepth, scopeStack, activeScope } = state;
  const former = { activeTape, gradientDepth, kernelDepth, scopeStack, activeScope };
  Object.assign(state, { activeTape: null, gradientDepth: 0, kernelDepth: 0, scopeStack: [], activeScope: null });
  tf.engine().startScope("trace");
  try {
    return work();
  } finally {
    while (state.scopeStack.length > 0) tf.engine().endScope();
    Object.assign(state, former);
  }
}

/** How many tensors there are of every value of a trace. */
export class LiveValues {
  private readonly counts = new Map<Value, number>();
  /** Everything the trace made, disposed of or not. */
  private readonly made = new WeakSet<Value>();

  add(value: Value): Value {
    this.made.add(value);
    this.counts.set(value, (this.counts.get(value) ?? 0) + 1);
    return value;
  }

  /** Returns whether that was the last tensor of the value. */
  remove(value: Value): boolean {
    const count = this.counts.get(value) ?? 0;
    if (count > 1) this.counts.set(value, count - 1);
    else this.counts.delete(value);
    return count <= 1;
  }

  count(value: Value): number {
    return this.counts.get(value) ?? 0;
  }

  has(value: unknown): value is Value {
    return value instanceof Value && this.made.has(value);
  }

  /**
   * Makes tfjs forget what is left: variables, tensors that the function kept, those that a failed gradient had saved. They hold no
   * memory, but tfjs counts them.
   */
  forget(): void {
    const engine = tf.engine();
    const { state } = engine;
    for (const variable of Object.values(state.registeredVariables)) {
      if (this.has(variable.dataId)) engine.disposeVariable(variable);
    }
    for (const [value, count] of this.counts) {
      state.tensorInfo.delete(value);
      state.numDataBuffers--;
      state.numTensors -= count;
      state.numBytes -= count * tf.util.sizeFromShape([...value.shape]) * tf.util.bytesPerElement(value.dtype);
    }
    this.counts.clear();
  }
}
