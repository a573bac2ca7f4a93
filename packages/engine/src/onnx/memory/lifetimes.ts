import { sizeOf } from "@peftjs/core";
import type { Graph, GraphNode, Value } from "../graph.ts";

/** Their results are the memory of their input. */
export const VIEWS: ReadonlySet<string> = new Set(["Reshape", "ExpandDims", "Identity"]);

export function bytesOf({ shape, dtype }: Value): number {
  return sizeOf(shape) * (dtype === "bool" ? 1 : 4);
}

/** The value whose memory this one is a view of. */
export function rootOf(value: Value): Value {
  let root = value;
  while (root.producer !== null && VIEWS.has(root.producer.kernel)) root = root.producer.inputs[0] as Value;
  return root;
}

/** From when to when the memory of every computed value is needed, in the order of the nodes. */
export class Lifetimes {
  readonly position = new Map<GraphNode, number>();
  readonly #lastUse = new Map<Value, number>();
  /** After the node at which most memory is in use. */
  readonly peak: number;

  constructor({ nodes, outputs }: Graph) {
    nodes.forEach((node, position) => {
      this.position.set(node, position);
      for (const input of node.inputs) this.#lastUse.set(rootOf(input), position);
    });
    for (const { value } of outputs) this.#lastUse.set(rootOf(value), nodes.length);
    this.peak = this.#findPeak(nodes);
  }

  lastUse(value: Value): number {
    return this.#lastUse.get(rootOf(value)) ?? -1;
  }

  #findPeak(nodes: readonly GraphNode[]): number {
    const change = new Float64Array(nodes.length + 2);
    nodes.forEach((node, position) => {
      for (const output of node.outputs) {
        if (rootOf(output) !== output) continue;
        change[position] = (change[position] as number) + bytesOf(output);
        const end = this.lastUse(output) + 1;
        change[end] = (change[end] as number) - bytesOf(output);
      }
    });
    let [used, most, peak] = [0, 0, 0];
    change.forEach((bytes, position) => {
      used += bytes;
      if (used > most) [most, peak] = [used, position];
    });
    return peak;
  }
}
