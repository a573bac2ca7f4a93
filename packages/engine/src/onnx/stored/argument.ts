import { sizeOf } from "@peftjs/core";
import type { GraphNode, Storage } from "../graph.ts";
import { inputOf, Value } from "../graph.ts";
import { normalizeAxes } from "../kernels/shapes.ts";
import { makeNode, nodeOf, single } from "../simplify/rewrite.ts";

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
    this.#wide = new Copies(this.narrow, (source) => this.#widening(source));
    this.#transposed = new Copies(this.narrow, (source) => nodeOf("PeftSwapStored", source));
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
    const widened = (scales?: Value): GraphNode => ({
      ...this.#widening({ x: rows }, scales),
      outputs: lookUp.outputs,
    });
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

  /** `scales`: those of the rows that were looked up; default: all. */
  #widening(source: Source, scales?: Value): GraphNode {
    const { storage } = this;
    if (storage.type !== "int8") return nodeOf("PeftWiden", source, { from: storage.type });
    const { axis, inputScales } = storage;
    const factors = { scales: scales ?? storage.scales, ...(inputScales === null ? {} : { inputScales }) };
    return nodeOf("PeftWiden", { ...source, ...factors }, { from: "int8", axis });
  }
}

/** What is copied: x, and its shape where that is known as late as the copy is to be made. */
type Source = { readonly x: Value } | { readonly x: Value; readonly shape: Value };

/** Copies of what is stored, made where they are needed. */
class Copies {
  readonly #stored: Value;
  readonly #make: (source: Source) => GraphNode;
  #copy: Value | null = null;
  #lastUse = 0;

  constructor(stored: Value, make: (source: Source) => GraphNode) {
    this.#stored = stored;
    this.#make = make;
  }

  at({ position, token, nodes }: Reading): Value {
    const isSmall = sizeOf(this.#stored.shape) < WORTH_WAITING;
    if (this.#copy === null || (!isSmall && position - this.#lastUse > NEAR)) {
      const gate = isSmall || token === null ? null : this.#gate(token);
      const x = this.#stored;
      const copying = this.#make(gate === null ? { x } : { x, shape: single(gate) });
      nodes.push(...(gate === null ? [] : [gate]), copying);
      this.#copy = single(copying);
    }
    this.#lastUse = position;
    return this.#copy;
  }

  /** The shape, handed on once the token is there. */
  #gate(token: Value): GraphNode {
    const { shape } = this.#stored;
    const own = new Value({ shape: [shape.length], dtype: "int32" }, { kind: "data", data: Int32Array.from(shape) });
    return nodeOf("PeftAfter", { x: own, token });
  }
}
