import type { ProductType } from "@peftjs/core";

/** How frozen weights are held in memory; `auto`: float16 and bfloat16 as in the file, everything else in float32. */
export const FROZEN_TYPES = ["float32", "float16", "bfloat16", "int8", "auto"] as const;
export type FrozenType = (typeof FROZEN_TYPES)[number];

export interface FrozenOptions {
  /**
   * `int8`: the weights of linear layers in one byte a value, symmetric per output channel; norms, biases, heads and whatever is trained
   * stay float32. The other types hold every weight.
   */
  readonly type: FrozenType;
  /** Tables of embeddings, and what is tied to them. Default: float32 with `int8`, else `type`. */
  readonly embeddings?: FrozenType;
  /** Of `int8`: how gradients are multiplied with the weights. Default: int8. */
  readonly backward?: ProductType;
  /** Of `int8`: layers that stay float32, by the last parts of their module paths. */
  readonly exclude?: readonly string[];
  /** Of `int8`: a folder in which the quantized weights are kept, so that they are made once. */
  readonly cache?: string;
}

/** A type alone stands for options that say nothing else. */
export type Frozen = FrozenType | FrozenOptions;
