export interface Rotation {
  readonly cos: number;
  readonly sin: number;
  readonly length: number;
}

/** Turns (f, g) into (length, 0). */
export function rotation(f: number, g: number): Rotation {
  const length = Math.hypot(f, g);
  return length === 0 ? { cos: 1, sin: 0, length } : { cos: f / length, sin: g / length, length };
}

export function rotated({ cos, sin }: Rotation, x: number, y: number): [number, number] {
  return [cos * x + sin * y, cos * y - sin * x];
}

/** Rotations of neighbours, one after the other: of `start` and `start + 1`, then of `start + 1` and `start + 2`, … */
export interface Sweep {
  readonly start: number;
  readonly cos: Float64Array;
  readonly sin: Float64Array;
}

/** For the rotations of start…end. */
export function emptySweep(start: number, end: number): Sweep {
  return { start, cos: new Float64Array(end - start), sin: new Float64Array(end - start) };
}

/** Makes `rotation` that of `i` and `i + 1`. */
export function keep({ start, cos, sin }: Sweep, i: number, rotation: Rotation): void {
  cos[i - start] = rotation.cos;
  sin[i - start] = rotation.sin;
}

/** Rows that go through all sweeps together: what is rotated then fits in the processor's cache. */
const BLOCK = 64;

/** Rotates the columns of data [rows, n] in place. */
export function rotateColumns(data: Float64Array, sweeps: readonly Sweep[], n: number): void {
  if (sweeps.length === 0) return;
  const rows = data.length / n;
  for (let from = 0; from < rows; from += BLOCK) {
    const width = Math.min(BLOCK, rows - from);
    // Columns become rows, which lie together in memory.
    const block = new Float64Array(n * width);
    for (let i = 0; i < width; i++)
      for (let j = 0; j < n; j++) block[j * width + i] = data[(from + i) * n + j] as number;
    for (const sweep of sweeps) rotateBlock(block, sweep, width);
    for (let i = 0; i < width; i++)
      for (let j = 0; j < n; j++) data[(from + i) * n + j] = block[j * width + i] as number;
  }
}

function rotateBlock(block: Float64Array, { start, cos, sin }: Sweep, width: number): void {
  for (let k = 0; k < cos.length; k++) {
    const c = cos[k] as number;
    const s = sin[k] as number;
    const upper = (start + k) * width;
    const lower = upper + width;
    for (let j = 0; j < width; j++) {
      const x = block[upper + j] as number;
      const y = block[lower + j] as number;
      block[upper + j] = c * x + s * y;
      block[lower + j] = c * y - s * x;
    }
  }
}
