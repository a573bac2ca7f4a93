import type { HostTensor, LayerSite, PeftModel, StoredTensor } from "@peftjs/core";

/** A parameter that may count: one of the base model's, or one that an adapter brings. */
export interface Candidate {
  /** The base model's name, or `<adapter>.<layer path>.<short name>`. */
  readonly name: string;
  readonly tensor: HostTensor | StoredTensor;
  /** `own`: a parameter that a method brings. The others are the base model's, or an adapter's copy of it. */
  readonly kind: "weight" | "bias" | "norm" | "embedding" | "own";
  /** The layer whose weight or bias it is. */
  readonly site: LayerSite | null;
  readonly head: boolean;
  /** Whether the adapters' methods train it; biases and norms that are trained beside a method's own parameters are `beside`. */
  readonly trained: "own" | "beside" | "head" | null;
}

/** Which of a parameter's values count: all (true), none (false), or those at these places of its stored form. */
export type Subset = (candidate: Candidate) => boolean | Int32Array;

export interface SubsetReport {
  readonly size: number;
  readonly parameters: readonly { readonly name: string; readonly size: number; readonly of: number }[];
}

export declare function candidates(model: PeftModel): Candidate[];
