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
  const [a, b] = [left.data, right.data];
  const [i1, j1] = [Math.min(i + 1, left.count - 1), Math.min(j + 1, right.count - 1)];
  const [a0, a1] = [i * left.width, i1 * left.width];
  const [b0, b1] = [j * left.width, j1 * left.width];
  const to = Math.min(from + BLOCK, left.width);
  let [s00, s01, s10, s11] = [0, 0, 0, 0];
  for (let k = from; k < to; k++) {
    const [p0, p1, q0, q1] = [a[a0 + k]!, a[a1 + k]!, b[b0 + k]!, b[b1 + k]!];
    s00 += p0 * q0;
    s01 += p0 * q1;
    s10 += p1 * q0;
    s11 += p1 * q1;
  }
  const n = right.count;
  products[i * n + j]! += s00;
  if (j1 > j) products[i * n + j1]! += s01;
  if (i1 > i) products[i1 * n + j]! += s10;
  if (i1 > i && j1 > j) products[i1 * n + j1]! += s11;
}
