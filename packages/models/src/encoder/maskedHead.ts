import type { Forward, Named } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { activation } from "../blocks/activations.ts";
import type { RowSelection } from "../blocks/encoderBlock.ts";
import { norm } from "../blocks/norm.ts";
import { withoutVirtual } from "./virtualTokens.ts";

export interface MaskedHeadSpec {
  /** Module of the dense layer in front of the decoder. */
  readonly dense: string;
  readonly norm: string;
  readonly activation: string;
  readonly epsilon: number;
  /** Parameter names of the decoder. */
  readonly weight: string;
  readonly bias: string;
}

/** Rows that the masked-LM head reads: all, or those of `masked_positions` int32 [M], flat indices into [B·T]. */
export function maskedRows(batch: Named<tf.Tensor>): RowSelection {
  const indices = batch["masked_positions"] as tf.Tensor1D | undefined;
  return indices === undefined ? { kind: "all" } : { kind: "rows", indices };
}

/** LN(act(W·x + b))·Eᵀ + c. x [n, H], E [V, H] → logits [n, V], or [B, T, V] when every token is predicted. */
export function maskedLogits(
  f: Forward,
  states: tf.Tensor2D,
  batch: Named<tf.Tensor>,
  spec: MaskedHeadSpec,
): tf.Tensor {
  const [rows, length] = (batch["input_ids"] as tf.Tensor2D).shape;
  const everyToken = batch["masked_positions"] === undefined;
  const x = everyToken ? withoutVirtual(states, [rows, length]) : states;
  const transformed = norm(f, spec.norm, activation(spec.activation)(f.linear(spec.dense, x)), spec.epsilon);
  const logits = tf.add(
    tf.matMul(transformed as tf.Tensor2D, f.parameter(spec.weight) as tf.Tensor2D, false, true),
    f.parameter(spec.bias),
  );
  return everyToken ? tf.reshape(logits, [rows, length, logits.shape[1] as number]) : logits;
}
