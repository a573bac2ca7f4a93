import * as tf from "@tensorflow/tfjs-core";
import { PeftError } from "../errors.ts";
import type { GradientOptions, WeightGradients } from "../method/contexts.ts";
import { LayeredForward } from "../model/layeredForward.ts";
import type { BaseModel } from "../model/model.ts";
import type { LayerSite } from "../model/site.ts";
import type { TensorRunner } from "../runner.ts";
import type { HostTensor, Named } from "../tensors.ts";
import { bareView, type View } from "./view.ts";

export interface GradientProbe {
  gradients(batch: Named<HostTensor>, options?: GradientOptions): Promise<WeightGradients>;
  dispose(): Promise<void>;
}

/**
 * Gradients of the base model's loss by the weights and biases of layers, one compiled program per choice of layers. Only the latest
 * program is kept, so that a method which goes through groups of layers holds one group's gradients at a time.
 */
export function createGradientProbe(base: BaseModel, sites: readonly LayerSite[], runner: TensorRunner): GradientProbe {
  const view = bareView(base);
  let latest: { readonly names: readonly string[]; readonly program: ReturnType<TensorRunner["compile"]> } | null =
    null;
  const dispose = async (): Promise<void> => {
    await latest?.program.dispose();
    latest = null;
  };
  return {
    dispose,
    gradients: async (batch, options = {}) => {
      requireLabels(batch);
      const names = (options.sites ?? sites).flatMap(({ weight, bias }) => (bias === null ? [weight] : [weight, bias]));
      if (names.length === 0) return new Map();
      if (latest?.names.join() !== names.join()) {
        await dispose();
        latest = { names, program: runner.compile(lossGradients(base, { view, names }), { constant: ["frozen"] }) };
      }
      const { gradients = {} } = await (latest as NonNullable<typeof latest>).program.run({
        frozen: view.frozen,
        batch,
      });
      return new Map(Object.entries(gradients));
    },
  };
}

type Compiled = Parameters<TensorRunner["compile"]>[0];

/** Traceable. What the loss does not depend on has a gradient of zeros. */
function lossGradients(
  base: BaseModel,
  { view, names }: { readonly view: View; readonly names: readonly string[] },
): Compiled {
  const sites = new Map(base.sites.map((site) => [site.path, site]));
  return ({ frozen = {}, batch = {} }) => {
    const weights = names.map((name) => frozen[view.keys.get(name) as string] as tf.Tensor);
    const loss = (): tf.Scalar =>
      base.loss(base.forward(new LayeredForward({ sites, view, tensors: [frozen], training: false }), batch), batch);
    // tf.grads refuses a parameter that the loss does not depend on; the engine underneath reports it as undefined.
    const { grads } = tf.engine().gradients(loss, weights, undefined, true);
    const entries = weights.map((weight, i): [string, tf.Tensor] => [
      names[i] as string,
      (grads[i] as tf.Tensor | undefined | null) ?? tf.zeros(weight.shape),
    ]);
    return { gradients: Object.fromEntries(entries) };
  };
}

function requireLabels(batch: Named<HostTensor>): void {
  if (batch["labels"] !== undefined) return;
  throw new PeftError(
    "CALIBRATION_LABELS_MISSING",
    `A gradient of the loss needs labelled batches, but this one has only ${Object.keys(batch).sort().join(", ") || "nothing"}. ` +
      "Give `labels` as for training, or choose a setting of the method that looks at no gradient.",
  );
}
