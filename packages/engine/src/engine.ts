import type { HostTensor, Named, StoredTensor } from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";
import type { Device } from "./devices.ts";

/** Named tensors in named groups, e.g. `{ frozen: {…}, trainable: {…}, batch: {…} }`. */
export type Groups<T> = Readonly<Record<string, Named<T>>>;

/**
 * A pure tensor function: it may not read values, and everything that changes from call to call is an argument.
 * (A JavaScript number it captures becomes a constant of the compiled program.)
 */
export type TensorFunction = (args: Groups<tf.Tensor>) => Groups<tf.Tensor>;

export interface CompileOptions {
  /** Groups whose tensors are not written to between calls (frozen weights): backends may keep their own copy. */
  readonly constant?: readonly string[];
  /** Programs kept, one per signature (names, shapes, types of the arguments); the least recently used goes first. */
  readonly maxPrograms?: number;
  /** Programs give the memory of intermediate results back to the system at once: less of it is held, and runs take some per cent longer. */
  readonly returnMemory?: boolean;
}

/** A tensor function with its programs, one per signature. */
export interface CompiledFunction {
  /**
   * Runs the function. An argument of float16 or bfloat16 is a float32 tensor inside it, widened where it is read. Where `into` names a result, it is written to that tensor's memory; other results get memory of their own.
   * The memory may be that of one whole argument: whatever reads the argument does so before it is overwritten.
   * @throws PeftError `RESULT_OVERLAPS` when it is a part of an argument's, or another result's.
   */
  run(args: Groups<StoredTensor>, into?: Groups<HostTensor>): Promise<Groups<HostTensor>>;
  readonly counters: Counters;
  dispose(): Promise<void>;
}

export interface Counters {
  readonly programsBuilt: number;
  readonly programsEvicted: number;
  readonly runs: number;
  readonly traceMilliseconds: number;
  readonly openMilliseconds: number;
}

export interface Engine {
  readonly name: string;
  /** Where it computes. */
  readonly device: Device;
  /** What computes: `onnxruntime`, or the tfjs backend. */
  readonly backend: string;
  compile(fn: TensorFunction, options?: CompileOptions): CompiledFunction;
}
