import type { Graph, GraphNode, Value } from "../graph.ts";
import { inputOf } from "../graph.ts";
import { isProduct } from "../simplify/places.ts";
import { applyPass, countUses, single, type Add } from "../simplify/rewrite.ts";
import { bytesOf } from "./lifetimes.ts";

const ACTIVATIONS: ReadonlySet<string> = new Set(["PeftGelu", "PeftGeluTanh", "PeftSilu", "Relu"]);
/** Element-wise in ∂y and x. */
const ACTIVATION_GRADIENTS: ReadonlySet<string> = new Set(["PeftGeluGrad", "PeftGeluTanhGrad", "PeftSiluGrad"]);
/** Below this the intermediate results are no matter. */
const WORTH_BYTES = 1 << 22;
const TURNS = 4;
/** With fewer rows at a time, what a product prepares of its weight takes a third of its time. */
const MIN_ROWS = 256;

/**
 * Takes the way through a feed-forward layer in turns of a quarter of the rows, but of no fewer than a few hundred: from its activation on,
 * W₂·act(x), and all the way back, (∂out·W₂)∘act′(x)·W₁. The intermediate results are four times as wide as the layer's input, and those of
 * the last layer are needed when most memory is in use: between the passes.
 */
export function feedForwardInTurns(graph: Graph): Graph {
  const uses = countUses(graph);
  const isOnce = (value: Value): boolean => uses.get(value) === 1;
  const turns = new Turns();
  return applyPass(graph, {
    name: "feed-forward-in-turns",
    rewrite: (node, { add }) => {
      if (!isRowProduct(node)) return null;
      const middle = inputOf(node, "a").producer;
      if (middle === null || !isWorthIt(single(middle)) || !isOnce(single(middle))) return null;
      if (ACTIVATIONS.has(middle.kernel)) return [forth(node, middle, { turns, add })];
      if (!ACTIVATION_GRADIENTS.has(middle.kernel)) return null;
      const first = inputOf(middle, "dy").producer;
      const isChain = first?.kernel === "BatchMatMul" && isRowProduct(first) && isOnce(single(first));
      return isChain ? [back(node, { first, middle }, { turns, add })] : null;
    },
  });
}

function isWorthIt(value: Value): boolean {
  return bytesOf(value) >= WORTH_BYTES && (value.shape[0] as number) > MIN_ROWS;
}

/** A product of two matrices, perhaps with a bias row, whose rows are those of its left operand. */
function isRowProduct(node: GraphNode): boolean {
  return (
    isProduct(node) &&
    node.attributes["transposeA"] !== true &&
    node.inputs.every(({ shape }, index) => shape.length === 2 || index > 1)
  );
}

interface Tools {
  readonly turns: Turns;
  readonly add: Add;
}

function forth(product: GraphNode, activation: GraphNode, { turns, add }: Tools): Value {
  const parts = turns.of(activation.inputs[0] as Value, add).map((x) => {
    const [name] = activation.inputNames as [string];
    return productOf(product, add(activation.kernel, { [name]: x }, activation.attributes), add);
  });
  return add("Concat", Object.fromEntries(parts.entries()), { axis: 0 });
}

function back(
  product: GraphNode,
  { first, middle }: { readonly first: GraphNode; readonly middle: GraphNode },
  { turns, add }: Tools,
): Value {
  const a = turns.of(inputOf(first, "a"), add);
  const parts = turns.of(inputOf(middle, "x"), add).map((x, i) => {
    const dy = productOf(first, a[i] as Value, add);
    return productOf(product, add(middle.kernel, { dy, x }, middle.attributes), add);
  });
  return add("Concat", Object.fromEntries(parts.entries()), { axis: 0 });
}

/** The product with other rows. */
function productOf(product: GraphNode, a: Value, add: Add): Value {
  const inputs = Object.fromEntries(product.inputNames.map((name, i) => [name, product.inputs[i] as Value]));
  return add(product.kernel, { ...inputs, a }, product.attributes);
}

/** Values by groups of rows, the same ones for both passes. */
class Turns {
  readonly #parts = new Map<Value, readonly Value[]>();

  of(value: Value, add: Add): readonly Value[] {
    const known = this.#parts.get(value);
    if (known !== undefined) return known;
    const { producer } = value;
    // Not even the first product is ever whole then.
    const parts =
      producer !== null && isRowProduct(producer)
        ? slices(inputOf(producer, "a"), add).map((a) => productOf(producer, a, add))
        : slices(value, add);
    this.#parts.set(value, parts);
    return parts;
  }
}

function slices(value: Value, add: Add): Value[] {
  const [rows, columns] = value.shape as [number, number];
  const turn = Math.max(MIN_ROWS, Math.ceil(rows / TURNS));
  return Array.from({ length: Math.ceil(rows / turn) }, (_, i) =>
    add("Slice", { x: value }, { begin: [i * turn, 0], size: [Math.min(turn, rows - i * turn), columns] }),
  );
}
