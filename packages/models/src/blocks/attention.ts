import type { Forward } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";

/** −1e9 instead of float32's minimum: the same probabilities wherever a key is allowed, and safe in reduced precision. */
const BLOCKED = -1e9;

/**
 * Additive mask of the scores, 0 where a key is allowed and −1e9 elsewhere.
 * attentionMask int32 [B, T] of 0 and 1 → float32 [B, 1, 1, T].
 */
export function maskBias(attentionMask: tf.Tensor): tf.Tensor4D {
  const [batch, length] = attentionMask.shape as [number, number];
  const blocked = tf.sub(1, tf.cast(attentionMask, "float32"));
  return tf.reshape(tf.mul(blocked, BLOCKED), [batch, 1, 1, length]);
}

export interface AttentionSpec {
  readonly heads: number;
  readonly batch: number;
  /** Length of the keys and values that are computed from x. */
  readonly length: number;
  /** Rows of the queries per example: `length`, or 1 when only the first token is needed. */
  readonly queryLength: number;
  /** Dropout of the probabilities. */
  readonly dropout: number;
}

export interface AttentionInput {
  /** [B·queryLength, H] */
  readonly xQuery: tf.Tensor2D;
  /** [B·T, H] */
  readonly x: tf.Tensor2D;
  /** [B, 1, 1, m + T] */
  readonly bias: tf.Tensor4D | null;
  /** Keys and values in front of those of x, the same for every example: [2, m, H], or null with m = 0. */
  readonly prefix: tf.Tensor3D | null;
}

/**
 * Multi-head attention without its output projection: softmax(Q·[K_p; K]ᵀ/√d + bias)·[V_p; V] with Q = x_q·W_qᵀ + b_q, K and V from x,
 * and K_p, V_p the prefix → [B·queryLength, H]. `path` holds the linear layers `query`, `key` and `value`.
 */
export function selfAttention(f: Forward, path: string, input: AttentionInput, spec: AttentionSpec): tf.Tensor2D {
  const { xQuery, x, bias, prefix } = input;
  const { heads, batch, length, queryLength } = spec;
  const hidden = x.shape[1];
  const query = splitHeads(f.linear(`${path}.query`, xQuery), [batch, queryLength, heads]);
  const key = behind(prefix, 0, splitHeads(f.linear(`${path}.key`, x), [batch, length, heads]));
  const value = behind(prefix, 1, splitHeads(f.linear(`${path}.value`, x), [batch, length, heads]));
  const scale = 1 / Math.sqrt(hidden / heads);
  const context = f.attention({ query, key, value }, { scale, bias, dropout: spec.dropout });
  const rows = queryLength === 1 ? context : tf.transpose(context, [0, 2, 1, 3]);
  return tf.reshape(rows, [batch * queryLength, hidden]);
}

/** The prefix's keys (0) or values (1) [m, h·d] in front of every example's own. own [B, h, T, d] → [B, h, m + T, d]. */
function behind(prefix: tf.Tensor3D | null, part: 0 | 1, own: tf.Tensor4D): tf.Tensor4D {
  if (prefix === null) return own;
  const [batch, heads] = own.shape;
  const [, count, features] = prefix.shape;
  const rows = splitHeads(tf.slice(prefix, [part, 0, 0], [1, count, features]), [1, count, heads]);
  return tf.concat([tf.tile(rows, [batch, 1, 1, 1]), own], 2);
}

/** [B·T, h·d] → [B, h, T, d]. With one row per example no element moves. */
function splitHeads(x: tf.Tensor, [batch, length, heads]: [number, number, number]): tf.Tensor4D {
  const size = (x.shape.at(-1) as number) / heads;
  if (length === 1) return tf.reshape(x, [batch, heads, 1, size]);
  return tf.transpose(tf.reshape(x, [batch, length, heads, size]), [0, 2, 1, 3]);
}
