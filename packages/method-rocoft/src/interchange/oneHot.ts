import { float32, sizeOf } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";

/** [r, size] with a 1 at (k, indices[k]) and zeros elsewhere. */
export function oneHotRows(indices: ArrayLike<number>, size: number): HostTensor {
  const data = new Float32Array(indices.length * size);
  Array.from(indices).forEach((index, k) => (data[k * size + index] = 1));
  return float32(data, [indices.length, size]);
}

/** Where the rows of a matrix have their 1. */
export interface OneHotPositions {
  /** Ascending. */
  readonly indices: Int32Array;
  /** The row that each of them is of. */
  readonly order: Int32Array;
}

/** Null for a matrix whose rows are not all one-hot, or not all different. */
export function oneHotPositions({ data, shape }: HostTensor): OneHotPositions | null {
  const [rows = 0, size = 0] = shape;
  const positions: number[] = [];
  for (let k = 0; k < rows; k++) {
    const row = data.subarray(k * size, (k + 1) * size);
    const index = row.indexOf(1);
    if (index < 0 || row.some((value, i) => i !== index && value !== 0)) return null;
    positions.push(index);
  }
  if (new Set(positions).size < rows) return null;
  const order = Int32Array.from(positions.keys()).sort((a, b) => (positions[a] as number) - (positions[b] as number));
  return { indices: order.map((k) => positions[k] as number), order };
}

/** Row order[k] of a matrix as row k. */
export function permuteRows({ data, shape }: HostTensor, order: Int32Array): HostTensor {
  const [, columns = 0] = shape;
  return float32(
    Float32Array.from(
      { length: sizeOf(shape) },
      (_, n) => data[(order[Math.floor(n / columns)] as number) * columns + (n % columns)] as number,
    ),
    shape,
  );
}

/** Column order[k] of a matrix as column k. */
export function permuteColumns({ data, shape }: HostTensor, order: Int32Array): HostTensor {
  const [, columns = 0] = shape;
  return float32(
    Float32Array.from(
      { length: sizeOf(shape) },
      (_, n) => data[n - (n % columns) + (order[n % columns] as number)] as number,
    ),
    shape,
  );
}

export function transposed({ data, shape }: HostTensor): HostTensor {
  const [rows = 0, columns = 0] = shape;
  return float32(
    Float32Array.from({ length: sizeOf(shape) }, (_, n) => data[(n % rows) * columns + Math.floor(n / rows)] as number),
    [columns, rows],
  );
}
