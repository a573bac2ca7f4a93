import type { VirtualTokens } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import type { RowSelection } from "../blocks/encoderBlock.ts";

/** Where the batch's tokens stand when virtual ones come before them. */
export interface Placement {
  /** Rows of the batch. */
  readonly rows: number;
  /** Tokens of the batch per row. */
  readonly tokens: number;
  /** Virtual tokens in front of them, n. */
  readonly virtual: number;
  /** Keys and values in front of all of these, m. Positions are counted as if they were tokens too. */
  readonly prefix: number;
}

export function placement([rows, tokens]: [number, number], { embeddings, keysValues }: VirtualTokens): Placement {
  return { rows, tokens, virtual: embeddings?.shape[0] ?? 0, prefix: keysValues?.shape[2] ?? 0 };
}

/** [p; x_b] for every row b of the batch. x [B·T, H], p [n, H] → [B·(n + T), H]. */
export function withVirtual(x: tf.Tensor2D, p: tf.Tensor2D | null, { rows, tokens }: Placement): tf.Tensor2D {
  if (p === null) return x;
  const [virtual, hidden] = p.shape;
  const repeated = tf.tile(tf.reshape(p, [1, virtual, hidden]), [rows, 1, 1]);
  const joined = tf.concat([repeated, tf.reshape(x, [rows, tokens, hidden])], 1);
  return tf.reshape(joined, [rows * (virtual + tokens), hidden]);
}

/** The rows of the batch's tokens among those of all positions. x [B·(n + T), H] → [B·T, H]. */
export function withoutVirtual(x: tf.Tensor2D, [rows, tokens]: [number, number]): tf.Tensor2D {
  const [count, hidden] = x.shape;
  const length = count / rows;
  if (length === tokens) return x;
  const own = tf.slice(tf.reshape(x, [rows, length, hidden]), [0, length - tokens, 0], [rows, tokens, hidden]);
  return tf.reshape(own, [rows * tokens, hidden]);
}

/** ids int32 [B, T] with `count` times the same value in front: [B, count + T]. */
export function padFront(ids: tf.Tensor, count: number, value: number): tf.Tensor {
  if (count === 0) return ids;
  return tf.concat([tf.fill([ids.shape[0] as number, count], value, "int32"), tf.cast(ids, "int32")], 1);
}

/** The selection among all positions; flat indices are those of the batch's tokens, [B·T]. */
export function selectAmongAll(select: RowSelection, { rows, tokens, virtual }: Placement): RowSelection {
  if (select.kind !== "rows" || virtual === 0) return select;
  const places = Array.from({ length: rows * tokens }, (_, i) => i + virtual * (Math.floor(i / tokens) + 1));
  return { kind: "rows", indices: tf.gather(tf.tensor1d(places, "int32"), select.indices) };
}
