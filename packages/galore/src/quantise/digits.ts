import * as tf from "@tensorflow/tfjs-core";

/**
 * Digits to the base 2^bits in 32-bit integers, the lowest first: codes of a few bits lie in int32 tensors, which checkpoints and engines
 * know. packed [..., n] → [..., n·32/bits]. Traceable.
 */
export function unpackDigits(packed: tf.Tensor, bits: 4 | 8): tf.Tensor {
  const base = tf.scalar(2 ** bits, "int32");
  const digits: tf.Tensor[] = [];
  let rest = packed;
  for (let i = 0; i < 32 / bits; i++) {
    // Rounding down makes the digits of a negative number those of its two's complement.
    const next = tf.floorDiv(rest, base);
    digits.push(tf.sub(rest, tf.mul(next, base)));
    rest = next;
  }
  return tf.reshape(tf.stack(digits, -1), [...packed.shape.slice(0, -1), -1]);
}

/** The way back: bytes int32 [..., n] in 0 … 255, n divisible by 4 → [..., n/4]. Traceable. */
export function packBytes(bytes: tf.Tensor): tf.Tensor {
  const [a, b, c, d] = tf.unstack(tf.reshape(bytes, [...bytes.shape.slice(0, -1), -1, 4]), -1) as [
    tf.Tensor,
    tf.Tensor,
    tf.Tensor,
    tf.Tensor,
  ];
  const times = (x: tf.Tensor, factor: number): tf.Tensor => tf.mul(x, tf.scalar(factor, "int32"));
  const isNegative = tf.cast(tf.greaterEqual(d, tf.scalar(128, "int32")), "int32");
  const highest = tf.sub(d, times(isNegative, 256));
  return tf.add(tf.add(a, times(b, 2 ** 8)), tf.add(times(c, 2 ** 16), times(highest, 2 ** 24)));
}
