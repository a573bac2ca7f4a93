import type * as tf from "@tensorflow/tfjs-core";
import { PeftError } from "../errors.ts";
import { didYouMean } from "../nearMisses.ts";
import { float32, int32, type HostTensor, type Named } from "../tensors.ts";
import type { View } from "./view.ts";

/** Name that stands for no adapter in a mixed batch, as in the Python library. */
const BASE = "__base__";

/** The batch entry that says which adapter each row is for, from their names. */
export function adapterIndex(names: readonly string[], active: readonly string[]): HostTensor {
  const places = names.map((name) => {
    const place = active.indexOf(name);
    if (place >= 0 || name === BASE) return place;
    throw inactive(name, active);
  });
  return int32(places, [places.length]);
}

/** The batch entry that multiplies what adapters add, from their names; 1 for those that are not named. */
export function adapterScale(factors: Readonly<Record<string, number>>, active: readonly string[]): HostTensor {
  for (const [name, factor] of Object.entries(factors)) {
    if (!active.includes(name)) throw inactive(name, active);
    if (!Number.isFinite(factor)) {
      throw new PeftError(
        "SCALE_INVALID",
        `The scale of the adapter "${name}" must be a finite number, got ${factor}.`,
      );
    }
  }
  return float32(
    active.map((name) => factors[name] ?? 1),
    [active.length],
  );
}

/**
 * The batch's `adapter_scale`, float32 [active adapters]; undefined when there is none.
 * @throws PeftError `SCALE_INVALID` when it is for other adapters, `ADAPTER_MERGED` when one is part of the weights.
 */
export function runTimeScale(
  batch: Named<tf.Tensor>,
  { view, merged }: { readonly view: View; readonly merged: readonly string[] },
): tf.Tensor1D | undefined {
  const scale = batch["adapter_scale"];
  if (scale === undefined || view.active.length === 0) return undefined;
  if (merged[0] !== undefined) {
    throw new PeftError(
      "ADAPTER_MERGED",
      `The adapter "${merged[0]}" is merged and cannot be scaled. Call unmerge() first.`,
    );
  }
  if (scale.shape.join() !== String(view.active.length)) {
    throw new PeftError(
      "SCALE_INVALID",
      `adapter_scale has shape [${scale.shape.join(", ")}] for ${view.active.length} active adapters. Make it with model.adapterScale.`,
    );
  }
  return scale as tf.Tensor1D;
}

/**
 * The batch's `adapter_index`, int32 [B], in a mixed view; undefined in any other.
 * @throws PeftError `MIXED_UNSUPPORTED` when view and batch do not go together, or while training.
 */
export function mixedIndex(
  batch: Named<tf.Tensor>,
  { view, training }: { readonly view: View; readonly training: boolean },
): tf.Tensor1D | undefined {
  const index = batch["adapter_index"];
  if (view.mixed === null && index === undefined) return undefined;
  if (view.mixed === null) {
    throw unsupported(
      "The batch has an adapter_index, but adapters are not chosen row by row now. Call setActive(names, { mixed: true }), outside of disable().",
    );
  }
  if (training) throw unsupported("Mixed batches are for evaluation. Train one adapter at a time.");
  if (index === undefined) {
    throw unsupported(
      "Adapters are chosen row by row, but the batch has no adapter_index. Add adapter_index: model.adapterIndex(names).",
    );
  }
  if (batch["masked_positions"] !== undefined) {
    throw unsupported("masked_positions picks positions across rows, so that their adapters are lost. Leave it out.");
  }
  return index as tf.Tensor1D;
}

function inactive(name: string, active: readonly string[]): PeftError {
  return new PeftError(
    "ADAPTER_INACTIVE",
    `The adapter "${name}" is not active.${didYouMean(name, active)} Active: ${active.join(", ") || "none"}.`,
  );
}

function unsupported(message: string): PeftError {
  return new PeftError("MIXED_UNSUPPORTED", message);
}
