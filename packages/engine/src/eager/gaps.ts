import * as tf from "@tensorflow/tfjs-core";
import type { KernelCall } from "./defects.ts";
import { defectsOf } from "./defects.ts";

type Result = tf.TensorInfo | tf.TensorInfo[];

const filled = new Set<string>();

/**
 * Lets a backend run everything the cpu backend runs: kernels that it lacks, calls that it refuses (a type, a padding) and
 * calls that it is known to answer wrongly go to the cpu version of the kernel, on copies of the values.
 */
export function fillGaps(backendName: string): void {
  if (backendName === "cpu" || filled.has(backendName)) return;
  filled.add(backendName);
  for (const kernel of tf.getKernelsForBackend("cpu")) {
    const own = tf.getKernel(kernel.kernelName, backendName);
    const onCpu = (call: KernelCall): Result => runOnCpu(kernel.kernelFunc, call);
    if (own === undefined) {
      tf.registerKernel({ ...kernel, backendName, kernelFunc: onCpu });
      continue;
    }
    const isWrong = defectsOf(backendName, kernel.kernelName);
    const kernelFunc = (call: KernelCall): Result =>
      isWrong(call)
        ? onCpu(call)
        : runOrElse(
            () => own.kernelFunc(call),
            () => onCpu(call),
          );
    tf.unregisterKernel(kernel.kernelName, backendName);
    tf.registerKernel({ ...own, kernelFunc });
  }
}

/** What the backend refuses and the cpu version refuses too, is the caller's mistake, in the backend's words. */
function runOrElse(run: () => Result, fallback: () => Result): Result {
  try {
    return run();
  } catch (refusal) {
    // A trap inside WebAssembly is no refusal: nobody knows what it has left behind.
    if ((refusal as Error).name === "RuntimeError") throw refusal;
    try {
      return fallback();
    } catch {
      throw refusal;
    }
  }
}

function runOnCpu(kernelFunc: tf.KernelFunc, { inputs, attrs }: KernelCall): Result {
  const cpu = tf.findBackend("cpu") as tf.KernelBackend;
  const here = tf.backend();
  const copies: tf.TensorInfo[] = [];
  // An optional input may be missing.
  const move = (info: tf.TensorInfo | undefined): tf.TensorInfo | undefined => {
    if (info === undefined || info === null) return undefined;
    const dataId = cpu.write(here.readSync(info.dataId).slice(), info.shape, info.dtype);
    // A few kernels count on a whole tensor's fields.
    const copy = { dataId, shape: info.shape, dtype: info.dtype, rank: info.shape.length };
    copies.push(copy);
    return copy;
  };
  const back = ({ dataId, shape, dtype }: tf.TensorInfo): tf.TensorInfo => {
    // Some cpu kernels leave whole numbers in a Float32Array, whose bytes mean something else elsewhere.
    const values = tf.util.toTypedArray(cpu.readSync(dataId), dtype as "float32" | "int32" | "bool");
    cpu.disposeData(dataId, true);
    return { dataId: here.write(values, shape, dtype), shape, dtype };
  };
  const moved = Array.isArray(inputs)
    ? inputs.map(move)
    : Object.fromEntries(Object.entries(inputs).map(([name, info]) => [name, move(info as tf.TensorInfo)]));
  try {
    const results = kernelFunc({ inputs: moved, attrs, backend: cpu } as KernelCall);
    return Array.isArray(results) ? results.map(back) : back(results);
  } finally {
    for (const { dataId } of copies) cpu.disposeData(dataId, true);
  }
}
