import { ensureTfjs } from "@peftjs/core/internal";
import * as tf from "@tensorflow/tfjs-core";

/** The reference backend, without its banner. */
export async function startCpu(): Promise<void> {
  ensureTfjs();
  await tf.setBackend("cpu");
  (tf.backend() as unknown as { firstUse: boolean }).firstUse = false;
}
