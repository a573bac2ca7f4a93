import type { Value } from "../graph.ts";
import { sameShape, uniformOf } from "../graph.ts";
import { BINARY_NAMES } from "../kernels/elementwise.ts";
import type { NodePass } from "./rewrite.ts";
import { single } from "./rewrite.ts";

/** A product with ones of a larger shape is a broadcast, and an elementwise consumer of the full shape needs no broadcast at all. */
export const dropBroadcasts: NodePass = {
  name: "drop-broadcasts",
  rewrite(node, { add }) {
    if (!BINARY_NAMES.has(node.kernel)) return null;
    const { shape, dtype } = single(node);
    const [a, b] = node.inputs as [Value, Value];
    if (node.kernel === "Multiply") {
      if (uniformOf(b) === 1 && a.dtype === dtype) return [add("BroadcastTo", { x: a }, { shape })];
      if (uniformOf(a) === 1 && b.dtype === dtype) return [add("BroadcastTo", { x: b }, { shape })];
    }
    // One operand has to keep the full shape: if the left one loses its broadcast, the right one does not.
    const left = sameShape(b.shape, shape) ? beforeBroadcast(a) : a;
    const right = sameShape(left.shape, shape) ? beforeBroadcast(b) : b;
    return left === a && right === b ? null : [add(node.kernel, { a: left, b: right }, node.attributes)];
  },
};

function beforeBroadcast(value: Value): Value {
  return value.producer?.kernel === "BroadcastTo" ? (value.producer.inputs[0] as Value) : value;
}
