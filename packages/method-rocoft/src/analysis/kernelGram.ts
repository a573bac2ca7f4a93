/** Rows of a Jacobian, [count, width], and where they begin among the rows or columns of the kernel. */
export interface RowBlock {
  readonly data: Float32Array;
  readonly width: number;
  readonly count: number;
  readonly offset: number;
}

/** Values of each row that are multiplied before the next ones are read: they stay in the processor's cache. */
const BLOCK = 1024;

export interface Products {
  readonly left: RowBlock;
  readonly right: RowBlock;
  /** The kernel is symmetric: what is added at [a, b] is added at [b, a], too. */
  readonly mirrored: boolean;
}

/** K[a, b] += aᵀb for all pairs of rows, in float64. K [_, columns]. */
export function addProducts(
  kernel: { readonly data: Float64Array; readonly columns: number },
  { left, right, mirrored }: Products,
): void {
  const first = (i: number): number => (mirrored && left.offset === right.offset ? i : 0);
  const products = new Float64Array(left.count * right.count);
  for (let from = 0; from < left.width; from += BLOCK)
    for (let i = 0; i < left.count; i += 2)
      for (let j = first(i); j < right.count; j += 2) addTile(products, { left, right, i, j, from });
  for (let i = 0; i < left.count; i++) {
    for (let j = first(i); j < right.count; j++) {
      const product = products[i * right.count + j]!;
      const [row, column] = [left.offset + i, right.offset + j];
      kernel.data[row * kernel.columns + column]! += product;
      if (mirrored && row !== column) kernel.data[column * kernel.columns + row]! += product;
    }
  }
}

interface Tile extends Omit<Products, "mirrored"> {
  readonly i: number;
  readonly j: number;
  readonly from: number;
}

/** The products of two rows with two others, which are read half as often; a missing one is stood in for by the one before. */
function addTile(products: Float64Array, { left, right, i, j, from }: Tile): void {
  const block = ({ data, width, count }: RowBlock, row: number): Float32Array => {
    const start = Math.min(row, count - 1) * width;
    return data.subarray(start + from, start + Math.min(from + BLOCK, width));
  };
  const [s00, s01, s10, s11] = twoByTwo(block(left, i), block(left, i + 1), block(right, j), block(right, j + 1));
  const n = right.count;
  const [hasRow, hasColumn] = [i + 1 < left.count, j + 1 < n];
  products[i * n + j]! += s00;
  if (hasColumn) products[i * n + j + 1]! += s01;
  if (hasRow) products[(i + 1) * n + j]! += s10;
  if (hasRow && hasColumn) products[(i + 1) * n + j + 1]! += s11;
}

/** [a₀ᵀb₀, a₀ᵀb₁, a₁ᵀb₀, a₁ᵀb₁]. Nothing but plain numbers in the loop: taking arrays apart there makes it half as fast. */
function twoByTwo(
  a0: Float32Array,
  a1: Float32Array,
  b0: Float32Array,
  b1: Float32Array,
): readonly [number, number, number, number] {
  let s00 = 0;
  let s01 = 0;
  let s10 = 0;
  let s11 = 0;
  for (let k = 0; k < a0.length; k++) {
    const p0 = a0[k]!;
    const p1 = a1[k]!;
    const q0 = b0[k]!;
    const q1 = b1[k]!;
    s00 += p0 * q0;
    s01 += p0 * q1;
    s10 += p1 * q0;
    s11 += p1 * q1;
  }
  return [s00, s01, s10, s11];
}
