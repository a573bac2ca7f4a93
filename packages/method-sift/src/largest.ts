import { PeftError } from "@peftjs/core";

/** Bits of a float32 without its sign: in the order of the absolute values, NaN last. */
const MAGNITUDE = 0x7fffffff;
const INFINITY = 0x7f800000;

/**
 * Places of the k numbers of largest absolute value, ascending; of equal ones the first come first. A radix selection: two counts of
 * the numbers' bits find the k-th largest, without sorting and without a copy.
 * @throws PeftError `CALIBRATION_NOT_FINITE` when a number is NaN.
 */
export function largest(numbers: Float32Array, k: number): Int32Array {
  const bits = new Int32Array(numbers.buffer, numbers.byteOffset, numbers.length);
  const high = new Int32Array(1 << 15);
  for (let i = 0; i < bits.length; i++) {
    const magnitude = (bits[i] as number) & MAGNITUDE;
    if (magnitude > INFINITY) throw notANumber(i);
    (high[magnitude >> 16] as number)++;
  }
  const upper = descend(high, k);
  const low = new Int32Array(1 << 16);
  for (const each of bits) {
    const magnitude = each & MAGNITUDE;
    if (magnitude >> 16 === upper.bucket) (low[magnitude & 0xffff] as number)++;
  }
  const lower = descend(low, upper.left);
  return places(bits, { threshold: (upper.bucket << 16) | lower.bucket, equal: lower.left, k });
}

/** The bucket in which the k-th largest number lies, and how many of its numbers are among the k. */
function descend(counts: Int32Array, k: number): { readonly bucket: number; readonly left: number } {
  let bucket = counts.length - 1;
  let left = k;
  for (; left > (counts[bucket] as number); bucket--) left -= counts[bucket] as number;
  return { bucket, left };
}

/** Where magnitudes lie above the threshold, and the first `equal` places at which they are equal to it. */
function places(
  bits: Int32Array,
  { threshold, equal, k }: { readonly threshold: number; readonly equal: number; readonly k: number },
): Int32Array {
  const found = new Int32Array(k);
  let count = 0;
  let left = equal;
  for (let i = 0; count < k; i++) {
    const magnitude = (bits[i] as number) & MAGNITUDE;
    if (magnitude > threshold || (magnitude === threshold && left-- > 0)) found[count++] = i;
  }
  return found;
}

function notANumber(place: number): PeftError {
  return new PeftError(
    "CALIBRATION_NOT_FINITE",
    `Entry ${place} of what the selection goes by is NaN. Check the model's weights and the batches for values that are not finite.`,
  );
}
