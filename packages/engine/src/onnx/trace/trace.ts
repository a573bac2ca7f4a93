import type { HostTensor } from "@peftjs/core";
import { PeftError } from "@peftjs/core";
import { activateCpu } from "@peftjs/core/internal";
import * as tf from "@tensorflow/tfjs-core";
import type { Groups, TensorFunction } from "../../engine.ts";
import { leaves, regroup } from "../../groups.ts";
import type { Graph, GraphInput, ValueType } from "../graph.ts";
import { Value } from "../graph.ts";
import { KERNELS } from "../kernels/registry.ts";
import { registerTraceKernels, TRACE_BACKEND, TraceBackend } from "./backend.ts";

/** Calls `fn` once on tensors without values and returns what it computed as a graph. */
export function trace(fn: TensorFunction, args: Groups<HostTensor>): Graph {
  const backend = traceBackend();
  const previous = tf.getBackend();
  // Without an asynchronous initialiser the switch is complete when the call returns; the promise adds nothing.
  void tf.setBackend(TRACE_BACKEND);
  backend.nodes = [];
  try {
    tf.engine().startScope("trace");
    try {
      return record(fn, args, backend);
    } finally {
      tf.engine().endScope();
    }
  } catch (error) {
    throw explain(error);
  } finally {
    backend.nodes = [];
    leaveTo(previous);
  }
}

/** Leaves the tracing backend: nobody else may compute on it. Without a former backend, on to the one that core brings along. */
function leaveTo(previous: string | null | undefined): void {
  if (previous !== undefined && previous !== null && previous !== TRACE_BACKEND) void tf.setBackend(previous);
  else activateCpu();
}

function record(fn: TensorFunction, args: Groups<HostTensor>, backend: TraceBackend): Graph {
  const inputs: GraphInput[] = leaves(args).map(({ group, name, value }) => ({ group, name, value: new Value(value) }));
  const tensors = regroup(inputs.map(({ group, name, value }) => ({ group, name, value: tensorOf(value, backend) })));
  const results = leaves(fn(tensors));
  const outputs = results.map(({ group, name, value }) => ({ group, name, value: value.dataId as unknown as Value }));
  for (const { group, name, value } of outputs) {
    if (!(value instanceof Value)) {
      throw new PeftError(
        "CAPTURED_TENSOR",
        `The result ${group}/${name} is a tensor that was made outside the compiled function. Pass it in as an argument.`,
      );
    }
  }
  return { inputs, nodes: backend.nodes, outputs };
}

function tensorOf(value: Value, backend: TraceBackend): tf.Tensor {
  return tf.engine().makeTensorFromDataId(value, [...value.shape], value.dtype as ValueType["dtype"], backend);
}

function traceBackend(): TraceBackend {
  const known = tf.findBackend(TRACE_BACKEND);
  if (known instanceof TraceBackend) return known;
  // Priority below every real backend: tfjs never picks it by itself.
  tf.registerBackend(TRACE_BACKEND, () => new TraceBackend(), -1);
  registerTraceKernels(KERNELS.values());
  return tf.findBackend(TRACE_BACKEND) as TraceBackend;
}

/** tfjs reports a kernel without a definition as a plain error; it becomes one that says what to do. */
function explain(error: unknown): unknown {
  const kernel = error instanceof Error ? /Kernel '(\w+)' not registered/.exec(error.message)?.[1] : undefined;
  if (kernel === undefined) return error;
  return new PeftError(
    "KERNEL_MISSING",
    `The operation ${kernel} cannot be compiled yet. Write it with other tfjs operations, or run with the eager engine: createEngine({ kind: "eager" }).`,
    { cause: error },
  );
}
