import { ensureTfjs } from "@peftjs/core/internal";
import * as tf from "@tensorflow/tfjs-core";

/** Makes the cpu backend active, without its banner, and checks that gradients are registered. */
export function useCpuBackend(): void {
  ensureTfjs();
  void tf.setBackend("cpu");
  (tf.backend() as unknown as { firstUse: boolean }).firstUse = false;
}
