import { describe, expect, it } from "vitest";
import { createRandom } from "../random.ts";
import { positiveMutualInformation } from "./cooccurrence.ts";
import type { SparseMatrix } from "./cooccurrence.ts";
import { symmetricEigen } from "./eigen.ts";
import { scaledLeftVectors } from "./svd.ts";
import { warmStart } from "./warmStart.ts";

const at = (values: ArrayLike<number>, index: number): number => values[index] as number;

describe("positiveMutualInformation", () => {
  it("equals the formula on a small text", () => {
    // Paragraphs "5 6 5" and "6 7"; 3 separates them. c(5,6) = 2, c(5,5) = 2 · 1/2, c(6,7) = 1.
    const counts = [
      [1, 2, 0],
      [2, 0, 1],
      [0, 1, 0],
    ];
    const matrix = positiveMutualInformation({
      tokens: Uint16Array.of(5, 6, 5, 3, 6, 7),
      vocabularySize: 8,
      firstWord: 5,
    });
    const totals = counts.map((row) => row.reduce((sum, count) => sum + count, 0));
    const contextSum = totals.reduce((sum, total) => sum + total ** 0.75, 0);
    const dense = denseOf(matrix);
    counts.forEach((row, i) =>
      row.forEach((count, j) => {
        const expected =
          count === 0 ? 0 : Math.max(0, Math.log((count * contextSum) / (at(totals, i) * at(totals, j) ** 0.75)));
        expect(at(dense, (i + 5) * 8 + j + 5)).toBeCloseTo(expected, 5);
      }),
    );
  });
});

describe("symmetricEigen", () => {
  it("gives A·v = λ·v, largest first", () => {
    const n = 7;
    const random = createRandom(1);
    const a = new Float64Array(n * n);
    for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) a[i * n + j] = a[j * n + i] = random.normal();
    const { values, vectors } = symmetricEigen(a, n);
    expect([...values]).toEqual([...values].sort((x, y) => y - x));
    for (let k = 0; k < n; k++) {
      for (let i = 0; i < n; i++) {
        let sum = 0;
        for (let j = 0; j < n; j++) sum += at(a, i * n + j) * at(vectors, j * n + k);
        expect(sum).toBeCloseTo(at(values, k) * at(vectors, i * n + k), 9);
      }
    }
  });
});

describe("scaledLeftVectors", () => {
  it("is U·√S: the square of its Gram matrix is M·Mᵀ", () => {
    const n = 40;
    const rank = 4;
    const random = createRandom(2);
    const factors = Array.from({ length: 2 }, () => Float64Array.from({ length: n * rank }, () => random.normal()));
    const dense = Float32Array.from({ length: n * n }, (_, index) => {
      let sum = 0;
      for (let k = 0; k < rank; k++)
        sum += at(factors[0] ?? [], Math.floor(index / n) * rank + k) * at(factors[1] ?? [], (index % n) * rank + k);
      return sum;
    });
    const matrix: SparseMatrix = {
      size: n,
      rowStart: Int32Array.from({ length: n + 1 }, (_, i) => i * n),
      column: Uint16Array.from({ length: n * n }, (_, i) => i % n),
      value: dense,
    };
    const left = scaledLeftVectors(matrix, { rank, random });
    const gram = product(left, rank, left);
    const expected = product(dense, n, dense);
    const squared = product(gram, n, gram);
    const scale = Math.max(...expected.map(Math.abs));
    squared.forEach((value, i) => expect(Math.abs(value - at(expected, i)) / scale).toBeLessThan(1e-4));
  });
});

describe("warmStart", () => {
  const random = createRandom(3);
  const options = { hidden: 64, layers: 2, heads: 4, vocabularySize: 100, positions: 34, seed: 1, positionOffset: 2 };
  const tokens = Uint16Array.from({ length: 20_000 }, () => 5 + random.below(90));
  const tensors = warmStart({ ...options, tokens });

  it("leaves the last quarter of the token embeddings to the positions", () => {
    const words = tensors["embeddings.word_embeddings.weight"]?.data ?? [];
    const positions = tensors["embeddings.position_embeddings.weight"]?.data ?? [];
    for (let word = 0; word < 100; word++) for (let j = 48; j < 64; j++) expect(at(words, word * 64 + j)).toBe(0);
    for (let j = 0; j < 128; j++) expect(at(positions, j)).toBe(0);
    expect(at(positions, 2 * 64 + 48)).toBeCloseTo(0.12, 6);
  });

  it("makes every head look at its neighbour", () => {
    const positions = tensors["embeddings.position_embeddings.weight"]?.data ?? [];
    [
      [-1, 1, -2, 2],
      [-1, 1, 0, 3],
    ].forEach((offsets, layer) =>
      offsets.forEach((offset, head) => {
        const project = (name: string, position: number): number[] =>
          Array.from({ length: 16 }, (_, i) => {
            const weights = tensors[`encoder.layer.${layer}.attention.self.${name}.weight`]?.data ?? [];
            let sum = 0;
            for (let j = 48; j < 64; j++)
              sum += at(weights, (head * 16 + i) * 64 + j) * at(positions, (position + 2) * 64 + j);
            return sum;
          });
        const query = project("query", 15);
        const scores = Array.from({ length: 32 }, (_, position) =>
          project("key", position).reduce((sum, value, i) => sum + value * at(query, i), 0),
        );
        expect(scores.indexOf(Math.max(...scores))).toBe(15 + offset);
      }),
    );
  });

  it("is a function of its seed", () => {
    expect(warmStart({ ...options, tokens })).toEqual(tensors);
  });
});

function denseOf(matrix: SparseMatrix): Float64Array {
  const dense = new Float64Array(matrix.size * matrix.size);
  for (let i = 0; i < matrix.size; i++) {
    for (let k = at(matrix.rowStart, i); k < at(matrix.rowStart, i + 1); k++)
      dense[i * matrix.size + at(matrix.column, k)] = at(matrix.value, k);
  }
  return dense;
}

/** A·Bᵀ of matrices with `width` columns. */
function product(a: ArrayLike<number>, width: number, b: ArrayLike<number>): Float64Array {
  const rows = a.length / width;
  const columns = b.length / width;
  return Float64Array.from({ length: rows * columns }, (_, index) => {
    let sum = 0;
    for (let k = 0; k < width; k++)
      sum += at(a, Math.floor(index / columns) * width + k) * at(b, (index % columns) * width + k);
    return sum;
  });
}
