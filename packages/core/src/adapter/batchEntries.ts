import type * as tf from "@tensorflow/tfjs-core";
import { PeftError } from "../errors.ts";
import { didYouMean } from "../nearMisses.ts";
import { float32, int32, type HostTensor, type Named } from "../tensors.ts";
import type { ResponseOptions } from "../model/response.ts";
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
 * Factors of what adapters add that are part of a batch, undefined where there are none: `adapter_scale`, float32 [active adapters], and
 * `response_scale`, float32 [blocks], of all adapters in each transformer block.
 * @throws PeftError `SCALE_INVALID` when one is of another length, `ADAPTER_MERGED` when an adapter is part of the weights.
 */
export function runTimeScales(
  batch: Named<tf.Tensor>,
  { view, merged, blocks }: { readonly view: View; readonly merged: readonly string[]; readonly blocks: number },
): Pick<ResponseOptions, "adapterScale" | "responseScale"> {
  if (view.active.length === 0) return {};
  if ((batch["adapter_scale"] ?? batch["response_scale"]) !== undefined && merged[0] !== undefined) {
    throw new PeftError(
      "ADAPTER_MERGED",
      `The adapter "${merged[0]}" is merged and cannot be scaled. Call unmerge() first.`,
    );
  }
  const of = (name: string, length: number, what: string): tf.Tensor1D | undefined => {
    const scale = batch[name];
    if (scale === undefined || scale.shape.join() === String(length)) return scale as tf.Tensor1D | undefined;
    throw new PeftError("SCALE_INVALID", `${name} has shape [${scale.shape.join(", ")}] for ${length} ${what}`);
  };
  return {
    adapterScale: of("adapter_scale", view.active.length, "active adapters. Make it with model.adapterScale."),
    responseScale: of("response_scale", blocks, "transformer blocks. Give it one factor per block."),
  };
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
