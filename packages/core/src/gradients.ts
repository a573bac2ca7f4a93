import * as tf from "@tensorflow/tfjs-core";
import { version_cpu } from "@tensorflow/tfjs-backend-cpu";
import { version_layers } from "@tensorflow/tfjs-layers";
import { mendCpuKernels } from "./cpuKernels.ts";
import { PeftError } from "./errors.ts";

/**
 * tfjs-core alone knows no gradients and no backend in Node. Importing tfjs-layers registers the gradients of all kernels, and
 * the cpu backend is what host-side work (merging) falls back on when the user registered none.
 * @throws PeftError `TFJS_DUPLICATED` when the registrations went to another copy of tfjs-core.
 */
export function ensureTfjs(): void {
  if (tf.getGradient("BatchMatMul") === undefined || tf.findBackendFactory("cpu") === null) {
    throw new PeftError(
      "TFJS_DUPLICATED",
      `@tensorflow/tfjs-layers ${version_layers} and tfjs-backend-cpu ${version_cpu} registered nothing in @tensorflow/tfjs-core ` +
        `${tf.version_core}: two copies of tfjs-core are installed. Give all @tensorflow packages one version and reinstall.`,
    );
  }
  mendCpuKernels();
}

/** Makes the cpu backend the active one. */
export function activateCpu(): void {
  void tf.setBackend("cpu");
  // The backend greets its first user with a banner; the flag is not in its public type.
  (tf.backend() as unknown as { firstUse: boolean }).firstUse = false;
}

/** Runs host-side tensor work on the active backend, or on the cpu backend when none is active yet, and disposes all its tensors. */
export function onHost<T>(work: () => T): T {
  ensureTfjs();
  if (!tf.getBackend()) activateCpu();
  // Not tf.tidy: it would walk through every number of the host arrays in the result, looking for tensors.
  const engine = tf.engine();
  engine.startScope("peft");
  try {
    return work();
  } finally {
    engine.endScope();
  }
}

/**
 * Traceable: ∂f/∂xᵢ, zeros where f does not depend on xᵢ. tf.grads refuses such an x; the engine underneath reports it as undefined.
 */
export function gradientsOf(f: () => tf.Scalar, xs: readonly tf.Tensor[]): tf.Tensor[] {
  const grads: readonly (tf.Tensor | null | undefined)[] = tf.engine().gradients(f, [...xs], undefined, true).grads;
  return xs.map((x, i) => grads[i] ?? tf.zeros(x.shape));
}
