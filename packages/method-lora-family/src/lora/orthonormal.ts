/** Q of the QR factorisation of a square matrix (row-major, n × n), by Householder reflections in float64. */
export function orthonormalColumns(matrix: ArrayLike<number>, n: number): Float64Array {
  const r = Float64Array.from(matrix);
  const q = new Float64Array(n * n);
  for (let i = 0; i < n; i++) q[i * n + i] = 1;
  for (let k = 0; k < n - 1; k++) {
    const v = reflector(r, n, k);
    if (v === null) continue;
    for (let column = 0; column < n; column++) reflect(r, n, v, { start: column, stride: n });
    // Q ← Q·H: rows of Q are reflected.
    for (let row = 0; row < n; row++) reflect(q, n, v, { start: row * n, stride: 1 });
  }
  return q;
}

/** Unit vector v with (I − 2vvᵀ)·column = ∓|column|·e_k from row k on; null when the column is zero already. */
function reflector(r: Float64Array, n: number, k: number): Float64Array | null {
  const v = new Float64Array(n);
  for (let i = k; i < n; i++) v[i] = r[i * n + k]!;
  const norm = Math.hypot(...v);
  if (norm === 0) return null;
  v[k]! += v[k]! >= 0 ? norm : -norm;
  const length = Math.hypot(...v);
  return v.map((value) => value / length);
}

function reflect(
  values: Float64Array,
  n: number,
  v: Float64Array,
  { start, stride }: { start: number; stride: number },
): void {
  let product = 0;
  for (let i = 0; i < n; i++) product += values[start + i * stride]! * v[i]!;
  for (let i = 0; i < n; i++) values[start + i * stride]! -= 2 * product * v[i]!;
}
