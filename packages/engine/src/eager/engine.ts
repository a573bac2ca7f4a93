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

  constructor({ device, backend }: EagerPlace) {
    this.device = device;
    this.backend = backend;
  }

  compile(fn: TensorFunction, options: CompileOptions = {}): CompiledFunction {
    return new EagerFunction(fn, this.backend, new Set(options.constant));
  }
}

class EagerFunction implements CompiledFunction {
  private readonly fn: TensorFunction;
  private readonly backend: EagerBackend;
  private readonly constantGroups: ReadonlySet<string>;
  /** Tensors of constant groups stay on the backend for as long as the function lives. */
  private readonly kept = new Map<StoredTensor, tf.Tensor>();
  private runs = 0;

  constructor(fn: TensorFunction, backend: EagerBackend, constantGroups: ReadonlySet<string>) {
    this.fn = fn;
    this.backend = backend;
    this.constantGroups = constantGroups;
  }

  get counters(): Counters {
    return { programsBuilt: 0, programsEvicted: 0, runs: this.runs, traceMilliseconds: 0, openMilliseconds: 0 };
  }

  async run(args: Groups<StoredTensor>, into: Groups<HostTensor> = {}): Promise<Groups<HostTensor>> {
    if (tf.getBackend() !== this.backend) await tf.setBackend(this.backend);
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
    for (const tensor of this.kept.values()) tensor.dispose();
    this.kept.clear();
  }

  private tensorOf({ group, value }: Leaf<StoredTensor>): tf.Tensor {
    if (!this.constantGroups.has(group)) return upload(value);
    let tensor = this.kept.get(value);
    if (tensor === undefined) {
      tensor = tf.keep(upload(value));
      this.kept.set(value, tensor);
    }
    return tensor;
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
