import type { DType } from "@peftjs/core";
import { tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import * as any from "../arbitrary.ts";
import type { KernelCase } from "../describeKernels.ts";

const NUMBERS: readonly DType[] = ["float32", "int32"];
const GRADIENT = { from: -1, to: 1 };

const size = fc.integer({ min: 1, max: 4 });

const swapped = (shape: readonly number[]): number[] => [...shape.slice(0, -2), shape.at(-1) ?? 1, shape.at(-2) ?? 1];

function product(label: string, batches: fc.Arbitrary<readonly [number[], number[]]>, sizes = size): KernelCase {
  return {
    kernel: "BatchMatMul",
    label,
    tolerance: tol.deep,
    dtypes: NUMBERS,
    gradient: GRADIENT,
    sample: ({ dtype, domain }) =>
      fc
        .tuple(batches, fc.tuple(sizes, sizes, sizes), fc.tuple(fc.boolean(), fc.boolean()))
        .chain(([[left, right], [rows, inner, columns], [transposeA, transposeB]]) => {
          const [a, b] = [
            [...left, rows, inner],
            [...right, inner, columns],
          ];
          return fc.tuple(
            any.tensor(transposeA ? swapped(a) : a, dtype, any.summable(domain)),
            any.tensor(transposeB ? swapped(b) : b, dtype, any.summable(domain)),
            fc.constant([transposeA, transposeB] as const),
          );
        })
        .map(([a, b, [transposeA, transposeB]]) => ({
          inputs: { a, b },
          op: ({ a: left, b: right }) => tf.matMul(left as tf.Tensor, right as tf.Tensor, transposeA, transposeB),
        })),
  };
}

const small = { max: 2, smallest: 1 };

const PRODUCTS: readonly KernelCase[] = [
  product("of matrices", fc.constant([[], []])),
  product(
    "in batches",
    any.shape(small).map((batch) => [batch, batch]),
  ),
  product("of broadcast batches", any.broadcastable({ ...small, max: 3 })),
  product(
    "without values",
    any.shape({ max: 2 }).map((batch) => [batch, batch]),
    fc.nat({ max: 2 }),
  ),
];

const EQUATIONS = [
  "ij,jk->ik",
  "bij,bjk->bik",
  "bhqd,bhkd->bhqk",
  "i,j->ij",
  "i,i->",
  "ij,ij->i",
  "ij->ji",
  "ij->",
  "ij->j",
  "ij,kj->ikj",
  "abc,cd->abd",
  "ij, jk -> ki",
];

const EINSUM: KernelCase = {
  kernel: "Einsum",
  tolerance: tol.deep,
  dtypes: NUMBERS,
  gradient: GRADIENT,
  sample: ({ dtype, domain }) =>
    fc
      .tuple(fc.constantFrom(...EQUATIONS), fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 26, maxLength: 26 }))
      .chain(([equation, sizes]) => {
        const operands = (equation.split("->")[0] as string).split(",").map((letters) => Array.from(letters.trim()));
        const shapes = operands.map((letters) => letters.map((letter) => sizes[letter.charCodeAt(0) - 97] as number));
        return fc.tuple(
          fc.constant(equation),
          ...shapes.map((shape) => any.tensor(shape, dtype, any.summable(domain))),
        );
      })
      .map(([equation, ...operands]) => ({
        inputs: Object.fromEntries(operands.map((operand, i) => [`x${i}`, operand])),
        op: (named) => tf.einsum(equation, ...Object.values(named)),
      })),
};

export const PRODUCT_CASES: readonly KernelCase[] = [...PRODUCTS, EINSUM];
