import type { DType } from "@peftjs/core";
import { PeftError, sizeOf } from "@peftjs/core";
import type { KernelFunc, NamedAttrMap, NamedTensorInfoMap, TensorInfo } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { GraphNode, ValueType } from "../graph.ts";
import { uniform, Value } from "../graph.ts";
import type { KernelDefinition } from "../kernels/definition.ts";
import { KernelCall } from "../kernels/definition.ts";

export const TRACE_BACKEND = "peftjs-trace";

/** A tfjs backend whose kernels compute shapes only and record themselves. A tensor's data id is its graph value. */
export class TraceBackend extends tf.KernelBackend {
  nodes: GraphNode[] = [];

  override write(values: tf.backend_util.BackendValues, shape: number[], dtype: tf.DataType): object {
    return constantValue(values as ArrayLike<number>, { shape, dtype: supportedType(dtype) });
  }

  override readSync(): never {
    throw new PeftError(
      "READ_DURING_TRACE",
      "A tensor's values were read (dataSync, arraySync, print) while the function was being compiled, when there are none yet. " +
        "Keep the computation in tensor operations, or pass the value in as an argument.",
    );
  }

  override read(): never {
    return this.readSync();
  }

  override disposeData(): boolean {
    return true;
  }

  override numDataIds(): number {
    return 0;
  }

  override floatPrecision(): 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override timerAvailable(): boolean {
    return false;
  }

  override refCount(): number {
    return 1;
  }

  override incRef(): void {}

  override dispose(): void {}

  /** Records one kernel call and returns its results. */
  record(definition: KernelDefinition, inputs: NamedTensorInfoMap, attributes: NamedAttrMap): TensorInfo[] {
    const inputNames = Object.keys(inputs).filter((name) => inputs[name] !== undefined && inputs[name] !== null);
    const values = inputNames.map((name) => valueOf(inputs[name] as TensorInfo, definition.name));
    const call = new KernelCall(definition.name, inputNames, values, attributes as Readonly<Record<string, unknown>>);
    const outputs = definition.infer(call).map((type) => new Value(type));
    const node: GraphNode = {
      kernel: definition.name,
      inputNames,
      inputs: values,
      attributes: call.attributes,
      outputs,
    };
    for (const output of outputs) output.producer = node;
    this.nodes.push(node);
    return outputs.map((output) => ({ dataId: output, shape: [...output.shape], dtype: output.dtype }));
  }
}

function valueOf(info: TensorInfo, kernel: string): Value {
  if (info.dataId instanceof Value) return info.dataId;
  throw new PeftError(
    "CAPTURED_TENSOR",
    `${kernel} uses a tensor of shape [${info.shape.join(", ")}] that was made outside the compiled function. ` +
      "Pass it in as an argument: everything that changes from call to call is one.",
  );
}

function supportedType(dtype: tf.DataType): DType {
  if (dtype === "float32" || dtype === "int32" || dtype === "bool") return dtype;
  throw new PeftError("DTYPE_UNSUPPORTED", `A ${dtype} tensor cannot be compiled. Use float32, int32 or bool.`);
}

/** Equal values are kept as one number: gradients call `ones(shape)` for shapes of any size. */
function constantValue(values: ArrayLike<number>, type: ValueType): Value {
  const size = sizeOf(type.shape);
  const first = Number(values[0] ?? 0);
  let equal = true;
  for (let i = 1; equal && i < size; i++) equal = Object.is(Number(values[i]), first);
  if (equal && size > 0) return uniform(type, first);
  const data =
    type.dtype === "float32"
      ? Float32Array.from(values)
      : type.dtype === "int32"
        ? Int32Array.from(values)
        : Uint8Array.from(values, Number);
  return new Value(type, { kind: "data", data });
}

/** Makes every kernel of `definitions` available on the tracing backend. */
export function registerTraceKernels(definitions: Iterable<KernelDefinition>): void {
  for (const definition of definitions) {
    const kernelFunc: KernelFunc = ({ inputs, attrs, backend }) => {
      const results = (backend as TraceBackend).record(definition, inputs, attrs ?? {});
      return results.length === 1 && definition.name !== "Unpack" && definition.name !== "SplitV"
        ? (results[0] as TensorInfo)
        : results;
    };
    tf.registerKernel({ kernelName: definition.name, backendName: TRACE_BACKEND, kernelFunc });
  }
}
