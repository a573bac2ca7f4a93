import type { StoredTensor } from "@peftjs/core";
import { isHalf, isInt8, PeftError } from "@peftjs/core";
import { activateCpu } from "@peftjs/core/internal";
import * as tf from "@tensorflow/tfjs-core";
import type { Groups, TensorFunction } from "../../engine.ts";
import type { Leaf } from "../../groups.ts";
import { leaves, regroup } from "../../groups.ts";
import type { Graph, GraphInput, Storage } from "../graph.ts";
import { Value, type ValueType } from "../graph.ts";
import { KERNELS } from "../kernels/registry.ts";
import { checkArguments } from "./arguments.ts";
import { Recording, registerTraceKernel, TRACE_BACKEND, TraceBackend } from "./backend.ts";
import { capturedTensor, disposedTensor, isDisposed, kernelMissing } from "./failures.ts";
import { isolated } from "./isolation.ts";
import { refusePromise, resultLeaves } from "./results.ts";

/** Frames of tfjs between a kernel and its caller are many; ten, V8's own limit, would not reach through them. */
const STACK_DEPTH = 200;

export interface TraceOptions {
  /** Remember where every kernel was called, for `describeNode`. Costs time. */
  readonly withPlaces?: boolean;
}

/**
 * Calls `fn` once on tensors without values and returns what it computed as a graph. Whether that succeeds or fails, tfjs is left as
 * it was: active backend, scopes, recorded gradient, count of tensors.
 */
export function trace(fn: TensorFunction, args: Groups<StoredTensor>, options: TraceOptions = {}): Graph {
  checkArguments(args);
  const backend = traceBackend();
  if (backend.recording !== null) {
    throw new PeftError(
      "TRACE_NESTED",
      "A compiled function is run inside a function that is being compiled. Call the inner function itself: it becomes part of the outer program.",
    );
  }
  const previous = tf.getBackend();
  const depth = Error.stackTraceLimit;
  const recording = new Recording(options.withPlaces ?? false);
  // Without an asynchronous initialiser the switch is complete when the call returns; the promise adds nothing.
  void tf.setBackend(TRACE_BACKEND);
  Error.stackTraceLimit = Math.max(depth, STACK_DEPTH);
  backend.recording = recording;
  try {
    return isolated(() => record(fn, args, { backend, recording }));
  } catch (error) {
    throw recording.unseen ?? explain(error);
  } finally {
    recording.live.forget();
    backend.recording = null;
    Error.stackTraceLimit = depth;
    leaveTo(previous);
  }
}

/** Leaves the tracing backend: nobody else may compute on it. Without a former backend, on to the one that core brings along. */
function leaveTo(previous: string | null | undefined): void {
  if (previous !== undefined && previous !== null && previous !== TRACE_BACKEND) void tf.setBackend(previous);
  else activateCpu();
}

interface Session {
  readonly backend: TraceBackend;
  readonly recording: Recording;
}

function record(fn: TensorFunction, args: Groups<StoredTensor>, { backend, recording }: Session): Graph {
  const variables = Object.values(tf.engine().state.registeredVariables);
  const tensors = leaves(args).map((leaf) => {
    const stored = leaf.value;
    const value = recording.live.add(new Value(countedAs(stored)));
    recording.inputs.set(value, leaf);
    return { ...leaf, value: tensorOf(value, backend) };
  });
  const returned: unknown = fn(regroup(tensors, Object.keys(args)));
  refusePromise(returned);
  const outputs = resultLeaves(returned).map((leaf) => ({ ...leaf, value: resultValue(leaf, recording) }));
  if (recording.unseen !== null) throw recording.unseen;
  for (const variable of variables) {
    if (recording.live.has(variable.dataId)) throw capturedTensor(variable, "A tensor that is assigned to");
  }
  const inputs = [...recording.inputs].flatMap(([value, leaf]) => graphInputs(value, leaf));
  return { inputs, nodes: recording.nodes, outputs };
}

/** What an argument is inside the function. */
function countedAs(stored: StoredTensor): ValueType {
  return isHalf(stored) || isInt8(stored) ? { shape: stored.shape, dtype: "float32" } : stored;
}

function graphInputs(value: Value, { group, name, value: stored }: Leaf<StoredTensor>): GraphInput[] {
  const place = { group, name, value };
  if (isHalf(stored)) return [{ ...place, storage: { type: stored.dtype } }];
  if (!isInt8(stored)) return [place];
  const { axis, backward } = stored;
  const factors = ({ length }: Float32Array): Value => new Value({ shape: [length], dtype: "float32" });
  const scales = factors(stored.scales);
  const inputScales = stored.inputScales === undefined ? null : factors(stored.inputScales);
  const storage: Storage = { type: "int8", axis, backward, scales, inputScales };
  const inputs: GraphInput[] = [
    { ...place, storage },
    { group, name, value: scales, part: "scales" },
  ];
  return inputScales === null ? inputs : [...inputs, { group, name, value: inputScales, part: "inputScales" }];
}

function resultValue({ group, name, value }: Leaf<tf.Tensor>, { live }: Recording): Value {
  const subject = `The result ${group}/${name}`;
  if (!live.has(value.dataId)) throw capturedTensor(value, subject);
  if (isDisposed(value)) throw disposedTensor(value, subject);
  return value.dataId;
}

function tensorOf(value: Value, backend: TraceBackend): tf.Tensor {
  return tf.engine().makeTensorFromDataId(value, [...value.shape], value.dtype, backend);
}

function traceBackend(): TraceBackend {
  const known = tf.findBackend(TRACE_BACKEND);
  if (known instanceof TraceBackend) return known;
  // Priority below every real backend: tfjs never picks it by itself.
  tf.registerBackend(TRACE_BACKEND, () => new TraceBackend(), -1);
  for (const name of KERNELS.keys()) registerTraceKernel(name);
  return tf.findBackend(TRACE_BACKEND) as TraceBackend;
}

/** tfjs reports a kernel without a definition as a plain error; it becomes one that says what to do. */
function explain(error: unknown): unknown {
  const kernel = error instanceof Error ? /Kernel '(\w+)' not registered/.exec(error.message)?.[1] : undefined;
  return kernel === undefined ? error : kernelMissing(kernel, error as Error);
}
