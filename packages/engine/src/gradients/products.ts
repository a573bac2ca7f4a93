import { sizeOf } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { float, gradient, sumTo } from "./definition.ts";

/** y = a·b over the last two axes; batch axes broadcast, and the partials are summed over those that did. */
const matrixProduct = gradient(
  { kernel: "BatchMatMul", inputs: ["a", "b"] },
  (dy, saved, { transposeA, transposeB }: tf.BatchMatMulAttrs) => {
    const [a, b] = [float(saved.a), float(saved.b)];
    return {
      a: () => sumTo(transposeA ? tf.matMul(b, dy, transposeB, true) : tf.matMul(dy, b, false, !transposeB), a.shape),
      b: () => {
        if (!transposeA && isShared(b, a)) {
          const [rows, outputs] = [asRows(a), asRows(dy)];
          const product = transposeB ? tf.matMul(outputs, rows, true) : tf.matMul(rows, outputs, true);
          return tf.reshape(product, b.shape);
        }
        return sumTo(transposeB ? tf.matMul(dy, a, true, transposeA) : tf.matMul(a, dy, !transposeA), b.shape);
      },
    };
  },
);

/** One matrix `b` for all matrices of `a`: its partial is one product over all their rows, without one matrix per batch entry. */
function isShared(b: tf.Tensor, a: tf.Tensor): boolean {
  return a.rank > 2 && sizeOf(b.shape.slice(0, -2)) === 1 && b.rank <= a.rank;
}

function asRows(x: tf.Tensor): tf.Tensor2D {
  return tf.reshape(x, [sizeOf(x.shape.slice(0, -1)), x.shape.at(-1) as number]);
}

/**
 * y = einsum("ab,bc->ac", …): an operand's partial is the einsum of ∂y and the other operand with the subscripts exchanged. Subscripts
 * that only this operand has were summed over: along those axes its partial is repeated.
 */
const einsum: tf.GradConfig = {
  kernelName: "Einsum",
  saveAllInputs: true,
  gradFunc: (dy, saved, attributes) => {
    const [left = "", result = ""] = (attributes["equation"] as string).replaceAll(/\s/gu, "").split("->");
    const terms = left.split(",");
    return Object.fromEntries(
      saved.map((x, own) => [
        own,
        () => {
          const others = saved.flatMap((tensor, i) =>
            i === own ? [] : [{ term: terms[i] as string, tensor: float(tensor) }],
          );
          return operandGradient(x, terms[own] as string, [{ term: result, tensor: dy as tf.Tensor }, ...others]);
        },
      ]),
    );
  },
};

interface Factor {
  readonly term: string;
  readonly tensor: tf.Tensor;
}

function operandGradient(x: tf.Tensor, term: string, factors: readonly Factor[]): tf.Tensor {
  const used = factors.map((factor, i) =>
    reduced(factor, term + factors.map((other, j) => (i === j ? "" : other.term)).join("")),
  );
  // A scalar factor has no subscripts to write down: it multiplies.
  const [scalars, indexed] = [used.filter((f) => f.term === ""), used.filter((f) => f.term !== "")];
  const known = [...term].filter((letter) => indexed.some((factor) => factor.term.includes(letter)));
  const product =
    indexed.length === 0
      ? tf.scalar(1)
      : tf.einsum(`${indexed.map((f) => f.term).join(",")}->${known.join("")}`, ...indexed.map((f) => f.tensor));
  const scaled = scalars.reduce<tf.Tensor>((value, { tensor }) => tf.mul(value, tensor), product);
  const expanded = tf.reshape(
    scaled,
    [...term].map((letter, axis) => (known.includes(letter) ? (x.shape[axis] as number) : 1)),
  );
  return tf.broadcastTo(expanded, x.shape);
}

/** The factor summed over the subscripts that nothing else has. (tfjs's kernel forgets a factor that shares no summed subscript.) */
function reduced({ term, tensor }: Factor, elsewhere: string): Factor {
  const alone = [...term].flatMap((letter, axis) => (elsewhere.includes(letter) ? [] : [axis]));
  if (alone.length === 0) return { term, tensor };
  return { term: [...term].filter((letter) => elsewhere.includes(letter)).join(""), tensor: tf.sum(tensor, alone) };
}

export const PRODUCTS: readonly tf.GradConfig[] = [matrixProduct, einsum];
