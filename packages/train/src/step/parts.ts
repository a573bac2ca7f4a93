import { sizeOf } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import type { Layout } from "./layout.ts";

/** Elements of a part: 1 MB of a parameter. What the runtime copies of larger ones is slower to allocate than to compute. */
const PART_SIZE = 1 << 18;

/** Tensors that are updated together; all share their memory with those of the step. */
export interface Part {
  /** Key of the tensor that is updated, among those of the step; null: all joined vectors. */
  readonly key: string | null;
  readonly trainable: Named<HostTensor>;
  readonly optimizer: Named<HostTensor>;
  readonly accumulated: Named<HostTensor>;
  readonly scales: Named<HostTensor>;
}

export interface PartsInput {
  readonly layout: Layout;
  readonly slots: readonly string[];
  readonly trainable: Named<HostTensor>;
  readonly optimizer: Named<HostTensor>;
  /** Gradients; a tensor without one is in no part. */
  readonly accumulated: Named<HostTensor>;
  /** Whether a tensor may be cut: its elements do not know of each other. */
  readonly elementwise: boolean;
}

/**
 * All joined vectors together, and every large tensor by itself: cut into pieces that are named by their group (`Layout.groups`), so
 * that pieces of many parameters share a program.
 */
export function* partsOf(input: PartsInput): Generator<Part> {
  const { layout } = input;
  const joined = layout.joined.map(({ key }) => key).filter((key) => key in input.accumulated);
  if (joined.length > 0) yield merged(joined.map((key) => part(input, { from: key, to: key })));
  for (const name of layout.single.filter((key) => key in input.accumulated)) {
    const to = layout.pieceNames[name] as string;
    const ruled = layout.rules[name] !== undefined;
    if (ruled || !input.elementwise) {
      yield part(input, { from: name, to: ruled ? to : name });
      continue;
    }
    const size = sizeOf((input.trainable[name] as HostTensor).shape);
    for (let begin = 0; begin < size; begin += PART_SIZE)
      yield part(input, { from: name, to, range: [begin, Math.min(size, begin + PART_SIZE)] });
  }
}

interface Selection {
  readonly from: string;
  readonly to: string;
  readonly range?: readonly [number, number];
}

function part(input: PartsInput, { from, to, range }: Selection): Part {
  const pick = (tensors: Named<HostTensor>, name: string): HostTensor => {
    const tensor = tensors[name] as HostTensor;
    if (range === undefined) return tensor;
    return { ...tensor, shape: [range[1] - range[0]], data: tensor.data.subarray(...range) };
  };
  const slots = Object.keys(input.layout.rules[from]?.state ?? {});
  return {
    key: from,
    trainable: { [to]: pick(input.trainable, from) },
    optimizer: Object.fromEntries(
      (from in input.layout.rules ? slots : input.slots).map((slot) => [
        `${slot}.${to}`,
        pick(input.optimizer, `${slot}.${from}`),
      ]),
    ),
    accumulated: { [to]: pick(input.accumulated, from) },
    scales: from in input.layout.scales ? { [to]: pick(input.layout.scales, from) } : {},
  };
}

function merged(parts: readonly Part[]): Part {
  const all = (name: Exclude<keyof Part, "key">): Named<HostTensor> =>
    Object.assign({}, ...parts.map((one) => one[name]));
  const [trainable, optimizer, accumulated] = [all("trainable"), all("optimizer"), all("accumulated")];
  return { key: null, trainable, optimizer, accumulated, scales: {} };
}
