import { float32, matrix, transpose } from "@peftjs/core";
import type { HostMatrix, HostTensor } from "@peftjs/core";

export function toMatrix({ data, shape }: HostTensor): HostMatrix {
  return matrix(data as Float32Array, shape as [number, number]);
}

export function toTensor({ data, rows, columns }: HostMatrix): HostTensor {
  return float32(Float32Array.from(data), [rows, columns]);
}

export function scaled({ rows, columns, data }: HostMatrix, factor: number): HostMatrix {
  return matrix(
    Float64Array.from(data, (value) => value * factor),
    [rows, columns],
  );
}

/** The first columns, each times its factor. */
export function scaledColumns({ rows, columns, data }: HostMatrix, factors: ArrayLike<number>): HostMatrix {
  const count = factors.length;
  const result = new Float64Array(rows * count);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < count; j++) result[i * count + j] = (data[i * columns + j] as number) * (factors[j] as number);
  return matrix(result, [rows, count]);
}

/** [a₁; a₂; …], all [·, in]. */
export function stackRows(matrices: readonly HostMatrix[]): HostMatrix {
  const columns = (matrices[0] as HostMatrix).columns;
  const rows = matrices.reduce((sum, each) => sum + each.rows, 0);
  const data = new Float64Array(rows * columns);
  let offset = 0;
  for (const each of matrices) {
    data.set(each.data, offset);
    offset += each.data.length;
  }
  return matrix(data, [rows, columns]);
}

/** [b₁, b₂, …], all [out, ·]. */
export function joinColumns(matrices: readonly HostMatrix[]): HostMatrix {
  return transpose(stackRows(matrices.map(transpose)));
}
