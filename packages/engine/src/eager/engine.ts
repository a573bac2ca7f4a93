import type { HostTensor, StoredTensor } from "@peftjs/core";
import { widen } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import type { Device } from "../devices.ts";
import type { CompiledFunction, CompileOptions, Counters, Engine, Groups, TensorFunction } from "../engine.ts";
import type { Leaf } from "../groups.ts";
import { leaves, regroup } from "../groups.ts";
import type { EagerBackend, EagerPlace } from "./backends.ts";

/** Calls the function as it is, on a tfjs backend. Simple, debuggable, the reference for tests. */
export class EagerEngine implements Engine {
  readonly name = "eager";
  readonly device: Device;
  readonly backend: EagerBackend;
  private readonly constants = new Constants();

  constructor({ device, backend }: EagerPlace) {
    this.device = device;
    this.backend = backend;
  }

  compile(fn: TensorFunction, options: CompileOptions = {}): CompiledFunction {
    const { backend, constants } = this;
    return new EagerFunction(fn, { backend, constants, constantGroups: new Set(options.constant) });
  }
}

/** Tensors of constant groups on the backend: one copy for all functions that read them, for as long as one of those lives. */
class Constants {
  private readonly entries = new Map<StoredTensor, { readonly tensor: tf.Tensor; readonly readers: Set<object> }>();

  tensor(value: StoredTensor, reader: object): tf.Tensor {
    let entry = this.entries.get(value);
    if (entry === undefined) {
      entry = { tensor: tf.keep(upload(value)), readers: new Set() };
      this.entries.set(value, entry);
    }
    entry.readers.add(reader);
    return entry.tensor;
  }

  release(reader: object): void {
    for (const [value, { tensor, readers }] of this.entries) {
      if (!readers.delete(reader) || readers.size > 0) continue;
      tensor.dispose();
      this.entries.delete(value);
    }
  }
}

interface EagerFunctionOptions {
  readonly backend: EagerBackend;
  readonly constants: Constants;
  readonly constantGroups: ReadonlySet<string>;
}

class EagerFunction implements CompiledFunction {
  private readonly fn: TensorFunction;
  private readonly options: EagerFunctionOptions;
  private runs = 0;

  constructor(fn: TensorFunction, options: EagerFunctionOptions) {
    this.fn = fn;
    this.options = options;
  }

  get counters(): Counters {
    return { programsBuilt: 0, programsEvicted: 0, runs: this.runs, traceMilliseconds: 0, openMilliseconds: 0 };
  }

  async run(args: Groups<StoredTensor>, into: Groups<HostTensor> = {}): Promise<Groups<HostTensor>> {
    const { backend } = this.options;
    if (tf.getBackend() !== backend) await tf.setBackend(backend);
    this.runs++;
    tf.engine().startScope("run");
    try {
      const leafTensors = leaves(args).map((leaf) => ({ ...leaf, value: this.tensorOf(leaf) }));
      const tensors = regroup(leafTensors, Object.keys(args));
      const results = leaves(this.fn(tensors));
      // Reading is synchronous on purpose: a scope may not stay open across an await.
      return regroup(
        results.map(({ group, name, value }) => ({ group, name, value: read(value, into[group]?.[name]) })),
      );
    } finally {
      tf.engine().endScope();
    }
  }

  async dispose(): Promise<void> {
    this.options.constants.release(this);
  }

  private tensorOf({ group, value }: Leaf<StoredTensor>): tf.Tensor {
    const { constants, constantGroups } = this.options;
    return constantGroups.has(group) ? constants.tensor(value, this) : upload(value);
  }
}

/** A copy: the cpu backend would keep a reference to memory that the next step overwrites. */
function upload(stored: StoredTensor): tf.Tensor {
  const { data, shape, dtype } = widen(stored);
  return tf.tensor(data === stored.data ? data.slice() : data, [...shape], dtype);
}

function read(tensor: tf.Tensor, target: HostTensor | undefined): HostTensor {
  const data = tensor.dataSync() as HostTensor["data"];
  const dtype = tensor.dtype as HostTensor["dtype"];
  if (target === undefined) return { dtype, shape: tensor.shape, data: data.slice() };
  target.data.set(data);
  return target;
}
