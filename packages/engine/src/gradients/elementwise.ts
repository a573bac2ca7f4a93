import * as tf from "@tensorflow/tfjs-core";
import { float, gradient, sumTo, zeros } from "./definition.ts";

/** ∂ of one operand in the shape of the result. The operands come as float32. */
type OperandPartial = (dy: tf.Tensor, a: tf.Tensor, b: tf.Tensor) => tf.Tensor;

/** A broadcasting kernel: each operand's partial is summed over the axes along which the operand was repeated. */
function binary(
  [kernel, left, right]: readonly [string, string, string],
  partials: readonly [OperandPartial, OperandPartial],
): tf.GradConfig {
  return gradient({ kernel, inputs: [left, right] }, (dy, saved) => {
    const [a, b] = [float(saved[left] as tf.Tensor), float(saved[right] as tf.Tensor)];
    return {
      [left]: () => sumTo(partials[0](dy, a, b), a.shape),
      [right]: () => sumTo(partials[1](dy, a, b), b.shape),
    };
  });
}

/** x where the condition holds, else 0. */
const masked = (condition: tf.Tensor, x: tf.Tensor): tf.Tensor => tf.mul(x, tf.cast(condition, "float32"));

/** a² + b². */
const squares = (a: tf.Tensor, b: tf.Tensor): tf.Tensor => tf.add(tf.square(a), tf.square(b));

const BINARY: readonly tf.GradConfig[] = [
  binary(["Add", "a", "b"], [(dy) => dy, (dy) => dy]),
  binary(["Sub", "a", "b"], [(dy) => dy, (dy) => tf.neg(dy)]),
  binary(["Multiply", "a", "b"], [(dy, _, b) => tf.mul(dy, b), (dy, a) => tf.mul(dy, a)]),
  // Of two equal operands the first one gets all, as in TensorFlow.
  binary(
    ["Maximum", "a", "b"],
    [(dy, a, b) => masked(tf.greaterEqual(a, b), dy), (dy, a, b) => masked(tf.less(a, b), dy)],
  ),
  binary(
    ["Minimum", "a", "b"],
    [(dy, a, b) => masked(tf.lessEqual(a, b), dy), (dy, a, b) => masked(tf.greater(a, b), dy)],
  ),
  binary(
    ["SquaredDifference", "a", "b"],
    [(dy, a, b) => tf.mul(dy, tf.mul(tf.sub(a, b), 2)), (dy, a, b) => tf.mul(dy, tf.mul(tf.sub(b, a), 2))],
  ),
  // a mod b = a − ⌊a/b⌋·b.
  binary(["Mod", "a", "b"], [(dy) => dy, (dy, a, b) => tf.neg(tf.mul(dy, tf.floor(tf.div(a, b))))]),
  binary(
    ["Atan2", "a", "b"],
    [(dy, a, b) => tf.mul(dy, tf.div(b, squares(a, b))), (dy, a, b) => tf.neg(tf.mul(dy, tf.div(a, squares(a, b))))],
  ),
  binary(
    ["Prelu", "x", "alpha"],
    [
      (dy, x, alpha) => tf.where(tf.greater(x, 0), dy, tf.mul(dy, alpha)),
      (dy, x) => masked(tf.lessEqual(x, 0), tf.mul(dy, x)),
    ],
  ),
  // b·a^(b−1) is 0 for b = 0, at a = 0 too, where a^(−1) is not finite.
  // ∂b needs ln a, which is taken as 0 where a is not positive, as in TensorFlow.
  binary(
    ["Pow", "a", "b"],
    [
      (dy, a, b) => tf.mul(dy, tf.mul(b, tf.pow(a, tf.sub(tf.where(tf.equal(b, 0), 1, b), 1)))),
      (dy, a, b) => tf.mul(dy, tf.mul(tf.pow(a, b), tf.log(tf.where(tf.greater(a, 0), a, 1)))),
    ],
  ),
];

export const ELEMENTWISE: readonly tf.GradConfig[] = [
  ...BINARY,
  // The sum comes before the division by b²: where b was broadcast, that divides less.
  gradient({ kernel: "RealDiv", inputs: ["a", "b"] }, (dy, saved) => {
    const [a, b] = [float(saved.a), float(saved.b)];
    return {
      a: () => sumTo(tf.div(dy, b), a.shape),
      b: () => tf.neg(tf.div(sumTo(tf.mul(dy, a), b.shape), tf.square(b))),
    };
  }),
  gradient({ kernel: "Abs", inputs: ["x"] }, (dy, { x }) => ({ x: () => tf.mul(dy, tf.sign(float(x))) })),
  gradient({ kernel: "Cast" }, (dy, _, { dtype }: tf.CastAttrs) => ({
    x: () => (dtype === "int32" || dtype === "bool" ? zeros(dy.shape) : tf.clone(dy)),
  })),
  // Chosen, not multiplied by 0 and 1: a gradient that is not finite in the branch that was not taken stays there.
  gradient({ kernel: "Select", inputs: ["condition"] }, (dy, { condition }) => ({
    condition: () => zeros(condition.shape),
    t: () => tf.where(condition, dy, zeros(dy.shape)),
    e: () => tf.where(condition, zeros(dy.shape), dy),
  })),
];
