import { matrix } from "@peftjs/core";
import type { HostMatrix } from "@peftjs/core";

/**
 * K[n, a, m, b] = Σ_p ∂f_a(x_n)/∂θ_p · ∂f_b(x_m)/∂θ_p over the parameters p of a subset: a tangent kernel of N and M examples and C
 * outputs, sample-major.
 */
export interface Kernel {
  /** [N, C, M, C]. */
  readonly shape: readonly [rows: number, outputs: number, columns: number, outputs: number];
  /** Row-major. */
  readonly data: Float64Array;
}

/** [N·C, M·C] over the kernel's own memory: row n·C + a, column m·C + b. */
export function kernelMatrix({ shape, data }: Kernel): HostMatrix {
  const [n, outputs, m] = shape;
  return matrix(data, [n * outputs, m * outputs]);
}

/** Σ_a K[n, a, m, a], [N, M]. */
export function traceKernel(kernel: Kernel): HostMatrix {
  const [n, outputs, m] = kernel.shape;
  const sum = new Float64Array(n * m);
  diagonalKernel(kernel).forEach((value, at) => (sum[Math.floor(at / outputs)]! += value));
  return matrix(sum, [n, m]);
}

/** K[n, a, m, a], [N, M, C]. */
export function diagonalKernel({ shape, data }: Kernel): Float64Array {
  const [n, outputs, m] = shape;
  const result = new Float64Array(n * m * outputs);
  for (let at = 0, i = 0; i < n; i++)
    for (let j = 0; j < m; j++)
      for (let a = 0; a < outputs; a++) result[at++] = data[((i * outputs + a) * m + j) * outputs + a]!;
  return result;
}
