import { sizeOf } from "@peftjs/core";
import type { GraphNode, Storage } from "../graph.ts";
import { inputOf, Value } from "../graph.ts";
import { normalizeAxes } from "../kernels/shapes.ts";
import { makeNode, single } from "../simplify/rewrite.ts";

/** Below this many values, a copy that lives to the end of the program costs less than making it again. */
const WORTH_WAITING = 1 << 16;
/** Calls that are at most this far apart share a copy: the turns in which a layer's rows are taken. */
const NEAR = 16;

/** Where a stored argument is read. */
export interface Reading {
  readonly position: number;
  /** A value without which the reader cannot run; null: an argument or a constant. */
  readonly token: Value | null;
  /** What is needed before is appended here. */
  readonly nodes: GraphNode[];
}

/** One argument that is stored in one or two bytes a value. */
export class StoredArgument {
  /** As it is stored; only what this class makes reads it. */
  readonly narrow: Value;
  readonly storage: Storage;
  readonly #wide: Copies;
  readonly #transposed: Copies;

  constructor(wide: Value, storage: Storage) {
    this.narrow = new Value(wide);
    this.storage = storage;
    this.#wide = new Copies(this.narrow, (shape) => this.#widening(this.narrow, shape));
    this.#transposed = new Copies(this.narrow, (shape) =>
      makeNode("PeftSwapStored", ["x", "shape"].slice(0, 1 + shape.length), [this.narrow, ...shape], {}),
    );
  }

  /** A copy in float32. */
  wide(reading: Reading): Value {
    return this.#wide.at(reading);
  }

  /** A transposed copy of the same type. */
  transposed(reading: Reading): Value {
    return this.#transposed.at(reading);
  }

  /** The look-up of what is stored, and the same results widened; null where rows have no factors of their own any more. */
  rows(lookUp: GraphNode): GraphNode[] | null {
    const { storage, narrow } = this;
    const rows = new Value(single(lookUp));
    const stored: GraphNode = { ...lookUp, inputs: [narrow, ...lookUp.inputs.slice(1)], outputs: [rows] };
    const widened = (scales?: Value): GraphNode => ({ ...this.#widening(rows, [], scales), outputs: lookUp.outputs });
    if (storage.type !== "int8") return [stored, widened()];
    const isMatrix = inputOf(lookUp, "indices").shape.length === 1 && rows.shape.length === 2;
    if (!isMatrix || storage.inputScales !== null) return null;
    const [axis] = normalizeAxes([lookUp.attributes["axis"] as number], 2);
    if (axis !== storage.axis) return [stored, widened(storage.scales)];
    const scales = makeNode(lookUp.kernel, lookUp.inputNames, [storage.scales, ...lookUp.inputs.slice(1)], {
      ...lookUp.attributes,
      axis: 0,
    });
    return [stored, scales, widened(single(scales))];
  }

  #widening(x: Value, [shape]: readonly Value[], scales?: Value): GraphNode {
    const { storage } = this;
    const inputs: Record<string, Value> = { x };
    if (shape !== undefined) inputs["shape"] = shape;
    if (storage.type !== "int8")
      return makeNode("PeftWiden", Object.keys(inputs), Object.values(inputs), { from: storage.type });
    inputs["scales"] = scales ?? storage.scales;
    if (storage.inputScales !== null) inputs["inputScales"] = storage.inputScales;
    return makeNode("PeftWiden", Object.keys(inputs), Object.values(inputs), { from: "int8", axis: storage.axis });
  }
}

/** Copies of what is stored, made where they are needed. */
class Copies {
  readonly #stored: Value;
  readonly #make: (shape: readonly Value[]) => GraphNode;
  #copy: Value | null = null;
  #lastUse = 0;

  /** `make` takes the argument's shape, known as late as the copy is to be made, or nothing. */
  constructor(stored: Value, make: (shape: readonly Value[]) => GraphNode) {
    this.#stored = stored;
    this.#make = make;
  }

  at({ position, token, nodes }: Reading): Value {
    const isSmall = sizeOf(this.#stored.shape) < WORTH_WAITING;
    if (this.#copy === null || (!isSmall && position - this.#lastUse > NEAR)) {
      const gate = isSmall || token === null ? [] : [this.#gate(token)];
      const copying = this.#make(gate.map(single));
      nodes.push(...gate, copying);
      this.#copy = single(copying);
    }
    this.#lastUse = position;
    return this.#copy;
  }

  /** The shape, handed on once the token is there. */
  #gate(token: Value): GraphNode {
    const { shape } = this.#stored;
    const own = new Value({ shape: [shape.length], dtype: "int32" }, { kind: "data", data: Int32Array.from(shape) });
    return makeNode("PeftAfter", ["x", "token"], [own, token], {});
  }
}
