import type * as tf from "@tensorflow/tfjs-core";
import { PeftError } from "../errors.ts";
import { gradientsOf } from "../gradients.ts";
import type { GradientOptions, WeightGradients } from "../method/contexts.ts";
import type { BaseModel } from "../model/model.ts";
import { layerParameters, type LayerSite } from "../model/site.ts";
import type { TensorRunner } from "../runner.ts";
import type { HostTensor, Named } from "../tensors.ts";
import { bareProgram, type BareProgram, type BareRun } from "./bareProgram.ts";

export interface GradientProbe {
  gradients(batch: Named<HostTensor>, options?: GradientOptions): Promise<WeightGradients>;
  dispose(): Promise<void>;
}

/**
 * Gradients of the base model's loss by the weights and biases of layers, one compiled program per choice of layers. Only the latest
 * program is kept, so that a method which goes through groups of layers holds one group's gradients at a time.
 */
export function createGradientProbe(base: BaseModel, sites: readonly LayerSite[], runner: TensorRunner): GradientProbe {
  let latest: { readonly names: readonly string[]; readonly program: BareProgram } | null = null;
  const programFor = async (names: readonly string[]): Promise<BareProgram> => {
    if (latest?.names.join() === names.join()) return latest.program;
    await latest?.program.dispose();
    latest = { names, program: bareProgram(base, { runner, find: (run) => lossGradients(base, run, names) }) };
    return latest.program;
  };
  return {
    gradients: async (batch, options = {}) => {
      requireLabels(batch);
      const names = (options.sites ?? sites).flatMap(layerParameters);
      if (names.length === 0) return new Map();
      const program = await programFor(names);
      return new Map(Object.entries(await program.run(batch)));
    },
    dispose: async () => latest?.program.dispose(),
  };
}

/** ∂L/∂W by name of the parameter W; zeros where the loss does not depend on it. */
function lossGradients(base: BaseModel, run: BareRun, names: readonly string[]): Named<tf.Tensor> {
  const weights = names.map((name) => run.parameter(name));
  const loss = (): tf.Scalar => base.loss(run.forward(), run.batch);
  const gradients = gradientsOf(loss, weights);
  return Object.fromEntries(names.map((name, i) => [name, gradients[i] as tf.Tensor]));
}

function requireLabels(batch: Named<HostTensor>): void {
  if (batch["labels"] !== undefined) return;
  throw new PeftError(
    "CALIBRATION_LABELS_MISSING",
    `A gradient of the loss needs labelled batches, but this one has only ${Object.keys(batch).sort().join(", ") || "nothing"}. ` +
      "Give `labels` as for training, or choose a setting of the method that looks at no gradient.",
  );
}
