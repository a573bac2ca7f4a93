import { float32, matrix } from "@peftjs/core";
import type { HostMatrix, HostTensor } from "@peftjs/core";

/** A float32 tensor of two dimensions as a matrix over the same memory. */
export function asMatrix({ data, shape: [rows = 0, columns = 0] }: HostTensor): HostMatrix {
  return matrix(data as Float32Array, [rows, columns]);
}

/** A matrix rounded to float32. */
export function asTensor({ rows, columns, data }: HostMatrix): HostTensor {
  return float32(Float32Array.from(data), [rows, columns]);
}

export function firstRows({ columns, data }: HostMatrix, count: number): HostMatrix {
  return matrix(data.subarray(0, count * columns), [count, columns]);
}
