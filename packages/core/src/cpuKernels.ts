import * as tf from "@tensorflow/tfjs-core";

const UPDATE = "TensorScatterUpdate";

let mended = false;

/**
 * The cpu kernel of tfjs 4.22 writes the result of `tensorScatterUpdate` over the tensor that is updated, whose memory may be that of a
 * weight. From here on it writes over a copy.
 */
export function mendCpuKernels(): void {
  const kernel = tf.getKernel(UPDATE, "cpu");
  if (mended || kernel === undefined) return;
  mended = true;
  tf.unregisterKernel(UPDATE, "cpu");
  tf.registerKernel({
    ...kernel,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const cpu = backend as tf.KernelBackend;
      const { dataId, shape, dtype } = inputs["tensor"] as tf.TensorInfo;
      const tensor = { dataId: cpu.write(cpu.readSync(dataId).slice(), shape, dtype), shape, dtype };
      try {
        return kernel.kernelFunc({ inputs: { ...inputs, tensor }, attrs: attrs ?? {}, backend });
      } finally {
        cpu.disposeData(tensor.dataId);
      }
    },
  });
}
