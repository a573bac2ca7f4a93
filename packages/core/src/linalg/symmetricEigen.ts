import { matrix, type HostMatrix } from "./matrix.ts";

export interface EigenPairs {
  /** Descending. */
  readonly values: Float64Array;
  /** [count, n]: orthonormal rows. */
  readonly vectors: HostMatrix;
}

/**
 * The `count` largest eigenvalues of a symmetric matrix and their vectors: G = Q·T·Qᵀ with T tridiagonal (Householder), then
 * T = Z·Λ·Zᵀ (implicit QL). Vectors are orthonormal also where eigenvalues coincide. Of G [n, n] the lower half is read.
 */
export function largestEigenPairs(g: HostMatrix, count: number): EigenPairs {
  const n = g.rows;
  const { diagonal, beside, reflectors } = tridiagonalise(Float64Array.from(g.data), n);
  const vectors = implicitQl(diagonal, beside);
  const order = Array.from(diagonal.keys())
    .sort((i, j) => diagonal[j]! - diagonal[i]!)
    .slice(0, count);
  const result = new Float64Array(count * n);
  order.forEach((from, to) => {
    const vector = result.subarray(to * n, (to + 1) * n);
    vector.set(vectors.subarray(from * n, (from + 1) * n));
    for (let step = n - 3; step >= 0; step--) reflect(vector, reflectors.subarray(step * n, (step + 1) * n));
  });
  return { values: Float64Array.from(order, (i) => diagonal[i]!), vectors: matrix(result, [count, n]) };
}

/** v of H = I − v·vᵀ, one row for every column that H cleared; |v|² = 2, or 0 where nothing was to be cleared. */
type Reflectors = Float64Array;

/** T by its diagonal and what stands beside it (`beside[i]` between i and i + 1), with A = H₀·H₁ … T … H₁·H₀. Overwrites `a`. */
function tridiagonalise(
  a: Float64Array,
  n: number,
): { readonly diagonal: Float64Array; readonly beside: Float64Array; readonly reflectors: Reflectors } {
  const reflectors = new Float64Array(Math.max(n - 2, 0) * n);
  const beside = new Float64Array(n);
  const product = new Float64Array(n);
  for (let step = 0; step < n - 2; step++) {
    const v = reflectors.subarray(step * n, (step + 1) * n);
    beside[step] = clearColumn(a, v, { n, step });
    reflectBothSides(a, v, { n, from: step + 1, product });
  }
  if (n > 1) beside[n - 2] = a[(n - 1) * n + n - 2]!;
  return { diagonal: Float64Array.from({ length: n }, (_, i) => a[i * n + i]!), beside, reflectors };
}

/** Writes the v that maps column `step` below the diagonal to (β, 0, …), and returns β. */
function clearColumn(
  a: Float64Array,
  v: Float64Array,
  { n, step }: { readonly n: number; readonly step: number },
): number {
  let largest = 0;
  for (let i = step + 1; i < n; i++) largest = Math.max(largest, Math.abs(a[i * n + step]!));
  if (largest === 0) return 0;
  let squares = 0;
  for (let i = step + 1; i < n; i++) {
    const value = a[i * n + step]! / largest;
    v[i] = value;
    squares += value * value;
  }
  const beta = v[step + 1]! > 0 ? -Math.sqrt(squares) : Math.sqrt(squares);
  v[step + 1]! -= beta;
  // |v|² = 2·β·(β − x₀), so that this makes it 2.
  const scale = 1 / Math.sqrt(squares - beta * (v[step + 1]! + beta));
  for (let i = step + 1; i < n; i++) v[i]! *= scale;
  return beta * largest;
}

/** A ← H·A·H = A − v·wᵀ − w·vᵀ with p = A·v and w = p − ½(pᵀv)·v, in the lower half from row `from` on. */
function reflectBothSides(
  a: Float64Array,
  v: Float64Array,
  { n, from, product }: { readonly n: number; readonly from: number; readonly product: Float64Array },
): void {
  product.fill(0);
  for (let i = from; i < n; i++) {
    const row = i * n;
    const vi = v[i]!;
    let sum = a[row + i]! * vi;
    for (let j = from; j < i; j++) {
      const value = a[row + j]!;
      sum += value * v[j]!;
      product[j]! += value * vi;
    }
    product[i]! += sum;
  }
  let half = 0;
  for (let i = from; i < n; i++) half += product[i]! * v[i]!;
  for (let i = from; i < n; i++) product[i]! -= (half / 2) * v[i]!;
  for (let i = from; i < n; i++) {
    const row = i * n;
    for (let j = from; j <= i; j++) a[row + j]! -= v[i]! * product[j]! + product[i]! * v[j]!;
  }
}

/** x ← (I − v·vᵀ)·x */
function reflect(x: Float64Array, v: Float64Array): void {
  let product = 0;
  for (let i = 0; i < x.length; i++) product += v[i]! * x[i]!;
  for (let i = 0; i < x.length; i++) x[i]! -= product * v[i]!;
}

/**
 * Eigenvalues of a tridiagonal matrix, written into `d`, and its eigenvectors as rows [n, n] (QL with implicit shifts,
 * Dubrulle, Martin and Wilkinson 1968). Overwrites both.
 */
function implicitQl(d: Float64Array, e: Float64Array): Float64Array {
  const n = d.length;
  const vectors = new Float64Array(n * n);
  for (let i = 0; i < n; i++) vectors[i * n + i] = 1;
  for (let low = 0; low < n; low++) {
    for (let high = split(d, e, low); high > low; high = split(d, e, low)) sweep(vectors, { d, e, low, high });
  }
  return vectors;
}

/** The first row from `low` on that nothing couples to the next. */
function split(d: Float64Array, e: Float64Array, low: number): number {
  const last = d.length - 1;
  let high = low;
  while (high < last && Math.abs(e[high]!) > Number.EPSILON * (Math.abs(d[high]!) + Math.abs(d[high + 1]!))) high++;
  return high;
}

interface Sweep {
  readonly d: Float64Array;
  readonly e: Float64Array;
  readonly low: number;
  readonly high: number;
}

/** One QL step on rows low … high: a shift, and plane rotations from below upwards, which `vectors` follow. */
function sweep(vectors: Float64Array, { d, e, low, high }: Sweep): void {
  const n = d.length;
  const slope = (d[low + 1]! - d[low]!) / (2 * e[low]!);
  const length = Math.hypot(slope, 1);
  let g = d[high]! - d[low]! + e[low]! / (slope + (slope < 0 ? -length : length));
  let [sine, cosine, carried] = [1, 1, 0];
  for (let i = high - 1; i >= low; i--) {
    const f = sine * e[i]!;
    const b = cosine * e[i]!;
    const r = Math.hypot(f, g);
    e[i + 1] = r;
    if (r === 0) {
      // The matrix has come apart here.
      d[i + 1]! -= carried;
      e[high] = 0;
      return;
    }
    sine = f / r;
    cosine = g / r;
    const above = d[i + 1]! - carried;
    const turned = (d[i]! - above) * sine + 2 * cosine * b;
    carried = sine * turned;
    d[i + 1] = above + carried;
    g = cosine * turned - b;
    rotate(vectors, { at: i * n, n, cosine, sine });
  }
  d[low]! -= carried;
  e[low] = g;
  e[high] = 0;
}

interface Rotation {
  /** Where the first of the two rows begins. */
  readonly at: number;
  readonly n: number;
  readonly cosine: number;
  readonly sine: number;
}

/** Two neighbouring rows, turned in their plane. */
function rotate(rows: Float64Array, { at, n, cosine, sine }: Rotation): void {
  for (let k = at; k < at + n; k++) {
    const upper = rows[k]!;
    const lower = rows[k + n]!;
    rows[k + n] = sine * upper + cosine * lower;
    rows[k] = cosine * upper - sine * lower;
  }
}
