import * as tf from "@tensorflow/tfjs-core";
import type { AttachedLayer, View } from "../adapter/view.ts";
import { PeftError } from "../errors.ts";
import type { VirtualTokensContext } from "../method/method.ts";
import type { Named } from "../tensors.ts";
import type { VirtualTokens } from "./model.ts";
import { PROMPT } from "./site.ts";

export interface VirtualTokensRun extends Pick<VirtualTokensContext<object>, "training" | "dropout"> {
  /** The batch says how much each adapter counts. */
  readonly scaled: boolean;
  params(layer: AttachedLayer): Named<tf.Tensor>;
}

/**
 * What a view's adapters put in front of the model's input, one after another in the order in which they are active.
 * @throws PeftError `MIXED_UNSUPPORTED`, `SCALE_INVALID`: they stand there for all rows, and as a whole.
 */
export function virtualTokens(view: View, { scaled, params, training, dropout }: VirtualTokensRun): VirtualTokens {
  if (view.mixed?.some(({ layers }) => layers.has(PROMPT)) === true) {
    throw new PeftError(
      "MIXED_UNSUPPORTED",
      "An adapter with virtual tokens lengthens all rows of a batch, so it cannot be chosen row by row. Run its rows in a batch of their own.",
    );
  }
  const attached = view.layers.get(PROMPT) ?? [];
  if (attached[0] !== undefined && scaled) {
    throw new PeftError(
      "SCALE_INVALID",
      `The virtual tokens of the adapter "${attached[0].adapter.name}" are there or not: they cannot be scaled. Leave adapter_scale out.`,
    );
  }
  const parts = attached.map((entry) => {
    const { method } = entry.adapter;
    const { site, config } = entry.layer;
    const own = method.virtualTokens as NonNullable<typeof method.virtualTokens>;
    return own({ site, config, params: params(entry), training, dropout });
  });
  const embeddings = parts.flatMap((part) => part.embeddings ?? []);
  const keysValues = parts.flatMap((part) => part.keysValues ?? []);
  return { embeddings: joined(embeddings, 0), keysValues: joined(keysValues, 2) };
}

/** Null when there is nothing to join. */
function joined<T extends tf.Tensor>(parts: T[], axis: number): T | null {
  return parts.length < 2 ? (parts[0] ?? null) : (tf.concat(parts, axis) as T);
}
