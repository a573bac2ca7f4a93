import { PeftError } from "@peftjs/core";
import { activateCpu } from "@peftjs/core/internal";
import * as tf from "@tensorflow/tfjs-core";

/** tfjs backends the eager engine can run on, the fastest first. */
export const EAGER_BACKENDS = ["tensorflow", "wasm", "cpu"] as const;
export type EagerBackend = (typeof EAGER_BACKENDS)[number];

/** Activates `asked`, or the first backend of `EAGER_BACKENDS` that is installed. */
export async function activateBackend(asked?: EagerBackend): Promise<EagerBackend> {
  for (const name of asked === undefined ? EAGER_BACKENDS : [asked]) {
    if (await LOADERS[name]()) {
      if (name === "cpu") activateCpu();
      else await tf.setBackend(name);
      await tf.ready();
      return name;
    }
  }
  throw new PeftError(
    "BACKEND_MISSING",
    `The tfjs backend "${asked}" is not available. Add @tensorflow/tfjs-node or @tensorflow/tfjs-node-gpu for "tensorflow"; "wasm" and "cpu" ship with @peftjs/engine.`,
  );
}

const LOADERS: Readonly<Record<EagerBackend, () => Promise<boolean>>> = {
  tensorflow: async () => (await loads("@tensorflow/tfjs-node-gpu")) || (await loads("@tensorflow/tfjs-node")),
  wasm: async () => {
    await import("@tensorflow/tfjs-backend-wasm");
    await import("@tensorflow/tfjs-backend-cpu");
    fillGaps("wasm");
    return true;
  },
  cpu: async () => {
    await import("@tensorflow/tfjs-backend-cpu");
    return true;
  },
};

/** Optional peers: found when the user installed them. */
async function loads(packageName: string): Promise<boolean> {
  try {
    await import(packageName);
    return true;
  } catch {
    return false;
  }
}

/** The wasm backend lacks a few kernels; their cpu versions run on copies of the values. */
function fillGaps(backendName: string): void {
  for (const kernel of tf.getKernelsForBackend("cpu")) {
    if (tf.getKernel(kernel.kernelName, backendName) !== undefined) continue;
    tf.registerKernel({ ...kernel, backendName, kernelFunc: (call) => onCpu(kernel.kernelFunc, call) });
  }
}

function onCpu(
  kernelFunc: tf.KernelFunc,
  { inputs, attrs }: Parameters<tf.KernelFunc>[0],
): tf.TensorInfo | tf.TensorInfo[] {
  const cpu = tf.findBackend("cpu") as tf.KernelBackend;
  const here = tf.backend();
  const move = (info: tf.TensorInfo): tf.TensorInfo => ({
    ...info,
    dataId: cpu.write(here.readSync(info.dataId), info.shape, info.dtype),
  });
  const copies = Object.fromEntries(Object.entries(inputs).map(([name, info]) => [name, move(info as tf.TensorInfo)]));
  const results = kernelFunc({ inputs: copies, attrs, backend: cpu } as Parameters<tf.KernelFunc>[0]);
  const back = (info: tf.TensorInfo): tf.TensorInfo => {
    const values = cpu.readSync(info.dataId);
    cpu.disposeData(info.dataId, true);
    return { ...info, dataId: here.write(values, info.shape, info.dtype) };
  };
  const moved = Array.isArray(results) ? results.map(back) : back(results);
  for (const copy of Object.values(copies)) cpu.disposeData(copy.dataId, true);
  return moved;
}
