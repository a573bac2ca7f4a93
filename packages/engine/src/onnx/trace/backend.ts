import type { HostTensor, StoredTensor } from "@peftjs/core";
import { PeftError, sizeOf } from "@peftjs/core";
import type { KernelFunc, NamedAttrMap, NamedTensorInfoMap, TensorInfo } from "@tensorflow/tfjs-core";
import * as tf from "@tensorflow/tfjs-core";
import type { Leaf } from "../../groups.ts";
import type { GraphNode, ValueType } from "../graph.ts";
import { uniform, Value } from "../graph.ts";
import type { KernelDefinition } from "../kernels/definition.ts";
import { KernelCall } from "../kernels/definition.ts";
import { KERNELS } from "../kernels/registry.ts";
import {
  capturedTensor,
  describeCall,
  disposedTensor,
  isDisposed,
  randomDuringTrace,
  readDuringTrace,
  shapeText,
  supportedType,
  typesDiffer,
  writerCall,
} from "./failures.ts";
import { LiveValues } from "./isolation.ts";
import { rememberPlace } from "./places.ts";

export const TRACE_BACKEND = "peftjs-trace";

/** What one call of a function has done so far. */
export class Recording {
  readonly nodes: GraphNode[] = [];
  readonly live = new LiveValues();
  readonly inputs = new Map<Value, Leaf<StoredTensor>>();
  /** Remember where every call was made. It takes time, so it is done only to explain a failure. */
  readonly withPlaces: boolean;
  /** An error that nobody saw: what a promise waits for cannot throw. */
  unseen: PeftError | null = null;

  constructor(withPlaces: boolean) {
    this.withPlaces = withPlaces;
  }
}

/** A tfjs backend whose kernels compute shapes only and record themselves. A tensor's data id is its graph value. */
export class TraceBackend extends tf.KernelBackend {
  recording: Recording | null = null;

  override write(values: tf.backend_util.BackendValues, shape: number[], dtype: tf.DataType): object {
    if (drawsRandomNumbers()) throw randomDuringTrace();
    const type = { shape, dtype: supportedType(dtype, writerCall) };
    return this.current().live.add(constantValue(values as ArrayLike<number>, type));
  }

  /** Constants can be read; everything else has no value yet. */
  override readSync(dataId: object): tf.backend_util.TypedArray {
    const values = valuesOf(dataId);
    if (values === null) throw readDuringTrace(this.nameOf(dataId));
    return values;
  }

  /** The promise of a value that there is not stays open, and the trace fails: a rejected one could end the process unheard. */
  override async read(dataId: object): Promise<tf.backend_util.TypedArray> {
    const values = valuesOf(dataId);
    if (values !== null) return values;
    const error = readDuringTrace(this.nameOf(dataId));
    if (this.recording === null) throw error;
    this.recording.unseen ??= error;
    return new Promise(() => {});
  }

  override disposeData(dataId: object): boolean {
    return this.recording?.live.remove(dataId as Value) ?? true;
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

  override refCount(dataId: object): number {
    return this.recording?.live.count(dataId as Value) ?? 0;
  }

  override incRef(dataId: object): void {
    this.recording?.live.add(dataId as Value);
  }

  override dispose(): void {}

  /** Records one kernel call and returns its results. */
  record(definition: KernelDefinition, inputs: NamedTensorInfoMap, attributes: NamedAttrMap): TensorInfo[] {
    const { nodes, live, withPlaces } = this.current();
    const inputNames = Object.keys(inputs).filter((name) => inputs[name] !== undefined && inputs[name] !== null);
    const values = inputNames.map((name) => this.valueBehind(inputs[name] as TensorInfo, definition.name));
    // A copy of its own: the place is kept by it.
    const call = new KernelCall(definition.name, inputNames, values, { ...attributes });
    if (withPlaces) rememberPlace(call.attributes);
    const outputs = infer(definition, call).map((type) => live.add(new Value(type)));
    const node: GraphNode = {
      kernel: definition.name,
      inputNames,
      inputs: values,
      attributes: call.attributes,
      outputs,
    };
    for (const output of outputs) output.producer = node;
    nodes.push(node);
    return outputs.map((output) => ({ dataId: output, shape: [...output.shape], dtype: output.dtype }));
  }

  private current(): Recording {
    if (this.recording !== null) return this.recording;
    throw new PeftError(
      "TRACE_CLOSED",
      "An operation ran on the compiled engine's backend after the function returned.",
    );
  }

  private valueBehind(info: TensorInfo, kernel: string): Value {
    const subject = (): string => `An input of ${describeCall(kernel)}`;
    const { dataId } = info;
    if (!this.current().live.has(dataId)) throw capturedTensor(info, subject());
    if (isDisposed(info)) throw disposedTensor(info, subject());
    return dataId;
  }

  private nameOf(dataId: object): string {
    if (!(dataId instanceof Value)) return "a tensor";
    const argument = this.recording?.inputs.get(dataId);
    const origin =
      argument !== undefined
        ? ` (the argument ${argument.group}/${argument.name})`
        : dataId.producer !== null
          ? ` (the result of kernel ${dataId.producer.kernel})`
          : "";
    return `a ${dataId.dtype} tensor of shape ${shapeText(dataId.shape)}${origin}`;
  }
}

/** The types of a call's results. An error of the shapes names the call. */
function infer(definition: KernelDefinition, call: KernelCall): ValueType[] {
  if (definition.sameTypes === true && new Set(call.inputs.map(({ dtype }) => dtype)).size > 1) {
    throw typesDiffer(call);
  }
  let types: readonly ValueType[];
  try {
    types = definition.infer(call);
  } catch (error) {
    if (!(error instanceof PeftError)) throw error;
    throw new PeftError(error.code, `${describeCall(definition.name)}: ${error.message}`, { cause: error });
  }
  return types.map(({ shape, dtype }) => {
    if (shape.some((dimension) => !Number.isInteger(dimension) || dimension < 0)) {
      throw new PeftError(
        "LOWERING_INVALID",
        `infer of kernel ${definition.name} returned the shape ${shapeText(shape)} for ${describeCall(definition.name)}. ` +
          "Dimensions are integers from 0 on.",
      );
    }
    return { shape, dtype: supportedType(dtype, () => describeCall(definition.name)) };
  });
}

const RANDOM = /^(?:rand\w*|truncatedNormal|multinomial)__op$/;

/** tfjs draws on the host and writes the numbers as a constant. Its operations name the scopes that they run in. */
function drawsRandomNumbers(): boolean {
  return tf.engine().state.scopeStack.some(({ name }) => RANDOM.test(name));
}

/** Equal values are kept as one number: gradients call `ones(shape)` for shapes of any size. */
function constantValue(values: ArrayLike<number>, type: ValueType): Value {
  const size = sizeOf(type.shape);
  const first = Number(values[0] ?? 0);
  let equal = true;
  for (let i = 1; equal && i < size; i++) equal = Object.is(Number(values[i]), first);
  if (equal && size > 0) return uniform(type, first);
  const data = hostArray(type, 0);
  return new Value(type, { kind: "data", data: (data.constructor as Float32ArrayConstructor).from(values, Number) });
}

function valuesOf(dataId: object): tf.backend_util.TypedArray | null {
  if (!(dataId instanceof Value) || dataId.constant === null) return null;
  const { constant } = dataId;
  return constant.kind === "data"
    ? constant.data.slice()
    : hostArray(dataId, sizeOf(dataId.shape)).fill(constant.value);
}

function hostArray({ dtype }: ValueType, size: number): HostTensor["data"] {
  if (dtype === "float32") return new Float32Array(size);
  return dtype === "int32" ? new Int32Array(size) : new Uint8Array(size);
}

/** Makes the kernel available on the tracing backend. What it does is looked up when it is called. */
export function registerTraceKernel(name: string): void {
  if (tf.getKernel(name, TRACE_BACKEND) !== undefined) return;
  const kernelFunc: KernelFunc = ({ inputs, attrs, backend }) => {
    const definition = KERNELS.get(name) as KernelDefinition;
    const results = (backend as TraceBackend).record(definition, inputs, attrs ?? {});
    return results.length === 1 && definition.list !== true ? (results[0] as TensorInfo) : results;
  };
  tf.registerKernel({ kernelName: name, backendName: TRACE_BACKEND, kernelFunc });
}
