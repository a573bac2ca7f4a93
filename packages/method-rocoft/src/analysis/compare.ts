import { PeftError } from "@peftjs/core";
import { dot } from "./dot.ts";
import type { Kernel } from "./kernel.ts";

/** How a kernel K_S differs from another, K. ‖·‖ is the Frobenius norm and ⟨·,·⟩ its product, over all entries. */
export interface KernelComparison {
  /** ‖K_S − K‖ / ‖K‖. A kernel of fewer parameters is smaller, so that this alone misleads: see the next ones. */
  readonly relativeDifference: number;
  /** The same of K_S / tr K_S and K / tr K. */
  readonly traceNormalisedDifference: number;
  /** ⟨K_S, K⟩ / (‖K_S‖·‖K‖) */
  readonly alignment: number;
  /** Centred alignment: that of H·K_S·H and H·K·H, H = I − 11ᵀ/(N·C). */
  readonly cka: number;
  /** c* = ⟨K_S, K⟩ / ⟨K_S, K_S⟩, for which ‖c·K_S − K‖ is smallest. */
  readonly bestScale: number;
  /** √(1 − alignment²) = ‖c*·K_S − K‖ / ‖K‖ */
  readonly residual: number;
  /** Σ|K_S| / Σ|K| */
  readonly absoluteRatio: number;
}

/**
 * Compares a kernel of examples with themselves with a reference on the same examples.
 * @throws PeftError `SHAPE_MISMATCH`, `KERNEL_ZERO`.
 */
export function compareKernels(kernel: Kernel, reference: Kernel): KernelComparison {
  if (kernel.shape.join() !== reference.shape.join() || kernel.shape[0] !== kernel.shape[2])
    throw new PeftError(
      "SHAPE_MISMATCH",
      `Kernels of shapes [${kernel.shape.join(", ")}] and [${reference.shape.join(", ")}] cannot be compared. Compute both on the same examples, without others.`,
    );
  const [a, b] = [kernel.data, reference.data];
  const [own, other, product] = [dot(a, a), dot(b, b), dot(a, b)];
  if (own === 0 || other === 0)
    throw new PeftError(
      "KERNEL_ZERO",
      `The ${own === 0 ? "kernel" : "reference"} is zero: no output depends on its parameters. Choose another subset.`,
    );
  const alignment = product / Math.sqrt(own * other);
  const bestScale = product / own;
  return {
    relativeDifference: difference(a, b, 1),
    traceNormalisedDifference: difference(a, b, trace(reference) / trace(kernel)),
    alignment,
    cka: centredAlignment(kernel, reference),
    bestScale,
    residual: difference(a, b, bestScale),
    absoluteRatio: absolute(a) / absolute(b),
  };
}

/** ‖c·A − B‖ / ‖B‖ */
export function difference(a: Float64Array, b: Float64Array, scale: number): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (scale * a[i]! - b[i]!) ** 2;
  return Math.sqrt(sum / dot(b, b));
}

function centredAlignment(a: Kernel, b: Kernel): number {
  const [x, y] = [centred(a), centred(b)];
  return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
}

/** H·K·H: from every entry its row's and its column's mean are taken, and the mean of all is given back. */
function centred({ shape: [n, outputs, m], data }: Kernel): Float64Array {
  const [height, width] = [n * outputs, m * outputs];
  const rowMeans = new Float64Array(height);
  const columnMeans = new Float64Array(width);
  data.forEach((value, at) => {
    rowMeans[Math.floor(at / width)]! += value / width;
    columnMeans[at % width]! += value / height;
  });
  const mean = rowMeans.reduce((sum, value) => sum + value / height, 0);
  return data.map((value, at) => value - rowMeans[Math.floor(at / width)]! - columnMeans[at % width]! + mean);
}

function trace({ shape: [n, outputs], data }: Kernel): number {
  const size = n * outputs;
  return data.reduce((sum, value, at) => (at % (size + 1) === 0 ? sum + value : sum), 0);
}

function absolute(a: Float64Array): number {
  return a.reduce((sum, value) => sum + Math.abs(value), 0);
}
