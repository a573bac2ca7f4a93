import * as tf from "@tensorflow/tfjs-core";

/** Kernels that a backend lacks run in their cpu version, on copies of the values. */
export function fillGaps(backendName: string): void {
  if (backendName === "cpu") return;
  for (const kernel of tf.getKernelsForBackend("cpu")) {
    if (tf.getKernel(kernel.kernelName, backendName) !== undefined) continue;
    tf.registerKernel({ ...kernel, backendName, kernelFunc: (call) => onCpu(kernel.kernelFunc, call) });
  }
}

type Call = Parameters<tf.KernelFunc>[0];

function onCpu(kernelFunc: tf.KernelFunc, { inputs, attrs }: Call): tf.TensorInfo | tf.TensorInfo[] {
  const cpu = tf.findBackend("cpu") as tf.KernelBackend;
  const here = tf.backend();
  const move = (info: tf.TensorInfo): tf.TensorInfo => ({
    ...info,
    dataId: cpu.write(here.readSync(info.dataId), info.shape, info.dtype),
  });
  const copies = Object.fromEntries(Object.entries(inputs).map(([name, info]) => [name, move(info as tf.TensorInfo)]));
  const results = kernelFunc({ inputs: copies, attrs, backend: cpu } as Call);
  const back = (info: tf.TensorInfo): tf.TensorInfo => {
    const values = cpu.readSync(info.dataId);
    cpu.disposeData(info.dataId, true);
    return { ...info, dataId: here.write(values, info.shape, info.dtype) };
  };
  const moved = Array.isArray(results) ? results.map(back) : back(results);
  for (const copy of Object.values(copies)) cpu.disposeData(copy.dataId, true);
  return moved;
}
