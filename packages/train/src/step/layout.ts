import { sizeOf, zeros } from "@peftjs/core";
import type { HostTensor, Named, ParameterRule } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import type { ParamGroup } from "../optim/optimizer.ts";

/** Parameters with at most this many elements are joined: for them the cost of an operation is that of starting it. */
export const JOINED_SIZE = 65_536;

interface Member {
  readonly name: string;
  readonly shape: readonly number[];
  readonly size: number;
  readonly offset: number;
}

/** Parameters of one group, end to end in one vector. */
interface Joined {
  readonly key: string;
  readonly members: readonly Member[];
  readonly size: number;
}

/**
 * How parameters lie in the tensors of a step: large ones under their own name, small ones joined by group, so that an
 * element-wise optimizer takes a dozen operations for all of them instead of a dozen for each.
 */
export interface Layout {
  readonly joined: readonly Joined[];
  /** Names of parameters that stand alone. */
  readonly single: readonly string[];
  /** What a piece of a tensor that stands alone is called: the same for all of a group. */
  readonly pieceNames: Named<string>;
  /** Group of every tensor of the step, and of every piece, by key. */
  readonly groups: Named<ParamGroup>;
  /** Block of every tensor of the step that learns only when its block does, by key. */
  readonly blocks: Named<number>;
  /** Update of every tensor of the step, and of every piece, that the optimizer leaves alone, by key. */
  readonly rules: Named<ParameterRule>;
  /** Factors of the update of each element (`ParamGroup.elementScale`), by key. */
  readonly scales: Named<HostTensor>;
}

export interface LayoutOptions {
  readonly groupOf: (parameter: { readonly name: string; readonly shape: readonly number[] }) => ParamGroup;
  /** Largest size that is joined; 0 joins nothing. */
  readonly limit: number;
  /** Block of a parameter that learns only when its block does. Vectors do not reach across blocks. Default: none. */
  readonly blockOf?: ((name: string) => number | null) | undefined;
  /** Default: none. */
  readonly ruleOf?: ((name: string) => ParameterRule | null) | undefined;
}

export function createLayout(params: Named<HostTensor>, options: LayoutOptions): Layout {
  const { groupOf, limit, blockOf, ruleOf } = options;
  const joined = new Map<string, { members: Member[]; size: number }>();
  const groups: Record<string, ParamGroup> = {};
  const blocks: Record<string, number> = {};
  const rules: Record<string, ParameterRule> = {};
  const scales: Record<string, HostTensor> = {};
  const single: string[] = [];
  const pieceNames: Record<string, string> = {};
  for (const [name, { shape }] of Object.entries(params)) {
    const group = groupOf({ name, shape });
    const block = blockOf?.(name) ?? null;
    const rule = ruleOf?.(name) ?? null;
    const size = sizeOf(shape);
    const label = `(lr ${group.lrScale}, decay ${group.weightDecay})`;
    const { elementScale } = group;
    if (rule !== null || elementScale !== undefined || size > limit) {
      const kind = rule === null ? "piece" : `${rule.kind} [${shape.join(", ")}]`;
      const piece = `${kind}${elementScale === undefined ? "" : " scaled"}${rule === null ? label : ""}`;
      single.push(name);
      pieceNames[name] = piece;
      groups[name] = groups[piece] = group;
      if (block !== null) blocks[name] = block;
      if (rule !== null) rules[name] = rules[piece] = rule;
      if (elementScale !== undefined) scales[name] = elementScale;
      continue;
    }
    const key = `joined${label}${block === null ? "" : ` of block ${block}`}`;
    const entry = joined.get(key) ?? { members: [], size: 0 };
    joined.set(key, entry);
    groups[key] = group;
    if (block !== null) blocks[key] = block;
    entry.members.push({ name, shape, size, offset: entry.size });
    entry.size += size;
  }
  return {
    joined: [...joined].map(([key, { members, size }]) => ({ key, members, size })),
    ...{ single, pieceNames, groups, blocks, rules, scales },
  };
}

/** The tensors of the step that have an update of their own, pieces left out. */
export function ruled({ single, rules }: Layout): (readonly [key: string, rule: ParameterRule])[] {
  return single.flatMap((key) => {
    const rule = rules[key];
    return rule === undefined ? [] : [[key, rule] as const];
  });
}

/** Names of the parameters that learn when the blocks before `from` do not. */
export function namesFrom({ joined, single, blocks }: Layout, from: number): ReadonlySet<string> {
  const learns = (key: string): boolean => (blocks[key] ?? from) >= from;
  return new Set([
    ...single.filter(learns),
    ...joined.filter(({ key }) => learns(key)).flatMap(({ members }) => members.map(({ name }) => name)),
  ]);
}

/** Host: vectors with memory of their own, and single tensors as they are, from values by name. */
export function joinHost(layout: Layout, values: Named<HostTensor>): Named<HostTensor> {
  const result: Record<string, HostTensor> = {};
  for (const name of layout.single) result[name] = values[name] as HostTensor;
  for (const { key, members, size } of layout.joined) {
    const vector = zeros([size]);
    for (const { name, offset } of members) vector.data.set((values[name] as HostTensor).data, offset);
    result[key] = vector;
  }
  return result;
}

/** Host: values by name as views of the vectors' memory. */
export function viewHost(layout: Layout, tensors: Named<HostTensor>): Named<HostTensor> {
  const result: Record<string, HostTensor> = {};
  for (const name of layout.single) result[name] = tensors[name] as HostTensor;
  for (const { key, members } of layout.joined) {
    const { data } = tensors[key] as HostTensor;
    for (const { name, shape, size, offset } of members)
      result[name] = { dtype: "float32", shape, data: data.subarray(offset, offset + size) };
  }
  return result;
}

/** The part of a layout whose tensors are there. */
export function presentIn(layout: Layout, tensors: Named<unknown>): Layout {
  return {
    ...layout,
    joined: layout.joined.filter(({ key }) => key in tensors),
    single: layout.single.filter((name) => name in tensors),
  };
}

/** Traced: tensors by name from vectors. */
export function split(layout: Layout, tensors: Named<tf.Tensor>): Named<tf.Tensor> {
  const result: Record<string, tf.Tensor> = {};
  for (const name of layout.single) result[name] = tensors[name] as tf.Tensor;
  for (const { key, members } of layout.joined) {
    const vector = tensors[key] as tf.Tensor;
    const parts =
      members.length === 1
        ? [vector]
        : tf.split(
            vector,
            members.map(({ size }) => size),
          );
    members.forEach(({ name, shape }, i) => void (result[name] = tf.reshape(parts[i] as tf.Tensor, [...shape])));
  }
  return result;
}

/**
 * Traced: vectors from tensors by name. A missing member counts as zeros (`fill` absent) or keeps its part of `fill`; a
 * vector without any member, or a single tensor that is missing, is left out.
 */
export function join(layout: Layout, tensors: Named<tf.Tensor>, fill?: Named<tf.Tensor>): Named<tf.Tensor> {
  const result: Record<string, tf.Tensor> = {};
  for (const name of layout.single) {
    const tensor = tensors[name];
    if (tensor !== undefined) result[name] = tensor;
  }
  for (const { key, members } of layout.joined) {
    if (members.every(({ name }) => tensors[name] === undefined)) continue;
    const parts = members.map(({ name, size, offset }) => {
      const tensor = tensors[name];
      if (tensor !== undefined) return tf.reshape(tensor, [size]);
      return fill === undefined ? tf.zeros([size]) : tf.slice(fill[key] as tf.Tensor, [offset], [size]);
    });
    result[key] = parts.length === 1 ? (parts[0] as tf.Tensor) : tf.concat(parts);
  }
  return result;
}
