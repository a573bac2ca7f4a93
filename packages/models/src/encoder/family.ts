import type { Head } from "@peftjs/core";
import type { EncoderDefaults } from "./config.ts";

/** What distinguishes one BERT-like family from another. */
export interface EncoderFamily {
  readonly modelType: string;
  /** Prefix of the trunk in models with a head. */
  readonly basePrefix: string;
  readonly defaults: EncoderDefaults;
  /** Where the blocks normalise: after the residual sum, or in front of attention and feed-forward. */
  readonly normOrder: "post" | "pre";
  /** `fromZero`: 0…T−1. `afterPadding`: pad + count of tokens so far; padding itself sits at position `pad`. */
  readonly positions: "fromZero" | "afterPadding";
  /** Whether `token_type_ids` of the batch are used; otherwise every token has type 0. */
  readonly tokenTypes: boolean;
}

/** Path of the trunk: `bert.` with a head, nothing in the bare model (as in the Python library). */
export function trunkPath(family: EncoderFamily, head: Head): string {
  return head.kind === "none" ? "" : `${family.basePrefix}.`;
}

/** Number of outputs of a classification or regression head. */
export function outputSize(head: Head): number {
  return head.kind === "sequenceClassification" ? head.labels.length : 1;
}
