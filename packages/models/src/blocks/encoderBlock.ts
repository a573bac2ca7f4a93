import type { Forward } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { activation } from "./activations.ts";
import { selfAttention } from "./attention.ts";
import { norm } from "./norm.ts";

/** Which rows of the hidden states leave a block. What nobody reads need not be computed. */
export type RowSelection =
  | { readonly kind: "all" }
  /** The first token of every example: [B, H]. */
  | { readonly kind: "first" }
  /** Flat indices into [B·T]: int32 [M] → [M, H]. */
  | { readonly kind: "rows"; readonly indices: tf.Tensor1D };

export interface EncoderBlockSpec {
  readonly heads: number;
  readonly batch: number;
  readonly length: number;
  readonly epsilon: number;
  readonly activation: string;
  readonly hiddenDropout: number;
  readonly attentionDropout: number;
}

/** A block as both orders see it: rows in, rows out, everything else shared. */
export type EncoderBlock = (f: Forward, path: string, input: BlockInput, spec: EncoderBlockSpec) => tf.Tensor2D;

export interface BlockInput {
  /** [B·T, H] */
  readonly x: tf.Tensor2D;
  /** [B, 1, 1, m + T] */
  readonly bias: tf.Tensor4D | null;
  /** Keys and values in front of the block's own, [2, m, H]; null with m = 0. */
  readonly prefix: tf.Tensor3D | null;
  readonly select: RowSelection;
}

/**
 * Post-LN (Vaswani et al. 2017; BERT, RoBERTa): x = LN(x + drop(O(Attn(x)))); x = LN(x + drop(W₂·act(W₁·x))).
 * x [B·T, H] → the selected rows [n, H].
 */
export const postNormBlock: EncoderBlock = (f, path, input, spec) => {
  const attended = attend(f, path, { ...input, normed: input.x }, spec);
  const middle = norm(f, `${path}.attention.output.LayerNorm`, attended, spec.epsilon);
  return norm(f, `${path}.output.LayerNorm`, feedForward(f, path, { x: middle, normed: middle }, spec), spec.epsilon);
};

/** Pre-LN (RoBERTa-PreLayerNorm): x = x + drop(O(Attn(LN(x)))); x = x + drop(W₂·act(W₁·LN(x))). */
export const preNormBlock: EncoderBlock = (f, path, input, spec) => {
  const normed = norm(f, `${path}.attention.LayerNorm`, input.x, spec.epsilon);
  const middle = attend(f, path, { ...input, normed }, spec);
  return feedForward(
    f,
    path,
    { x: middle, normed: norm(f, `${path}.intermediate.LayerNorm`, middle, spec.epsilon) },
    spec,
  );
};

/** x + drop(O(Attn(normed))) for the selected rows: keys and values are those of all rows. */
function attend(
  f: Forward,
  path: string,
  input: BlockInput & { readonly normed: tf.Tensor2D },
  spec: EncoderBlockSpec,
): tf.Tensor2D {
  const { x, normed, bias, prefix, select } = input;
  const { batch, length, heads } = spec;
  const first = select.kind === "first";
  const xQuery = first ? selectRows(normed, select, spec) : normed;
  const residual = x === normed && first ? xQuery : selectRows(x, select, spec);
  const attention = { heads, batch, length, queryLength: first ? 1 : length, dropout: spec.attentionDropout };
  const context = selfAttention(f, `${path}.attention.self`, { xQuery, x: normed, bias, prefix }, attention);
  const rows = first ? context : selectRows(context, select, spec);
  return tf.add(f.dropout(f.linear(`${path}.attention.output.dense`, rows), spec.hiddenDropout), residual);
}

/** x + drop(W₂·act(W₁·normed + b₁) + b₂). x and normed [n, H]. */
function feedForward(
  f: Forward,
  path: string,
  { x, normed }: { readonly x: tf.Tensor2D; readonly normed: tf.Tensor2D },
  spec: EncoderBlockSpec,
): tf.Tensor2D {
  const inner = activation(spec.activation)(f.linear(`${path}.intermediate.dense`, normed));
  return tf.add(f.dropout(f.linear(`${path}.output.dense`, inner), spec.hiddenDropout), x);
}

/** x [B·T, H] → the selected rows. */
export function selectRows(
  x: tf.Tensor2D,
  select: RowSelection,
  spec: { readonly batch: number; readonly length: number },
): tf.Tensor2D {
  if (select.kind === "all") return x;
  if (select.kind === "rows") return tf.gather(x, select.indices);
  const { batch, length } = spec;
  const hidden = x.shape[1];
  return tf.reshape(tf.slice(tf.reshape(x, [batch, length, hidden]), [0, 0, 0], [batch, 1, hidden]), [batch, hidden]);
}
