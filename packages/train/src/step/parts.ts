import { sizeOf } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import type { Layout } from "./layout.ts";

/** Elements of a part: 1 MB of a parameter. What the runtime copies of larger ones is slower to allocate than to compute. */
const PART_SIZE = 1 << 18;

/** Tensors that are updated together; all share their memory with those of the step. */
export interface Part {
  readonly trainable: Named<HostTensor>;
  readonly optimizer: Named<HostTensor>;
  readonly accumulated: Named<HostTensor>;
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
  const joined = input.layout.joined.map(({ key }) => key).filter((key) => key in input.accumulated);
  if (joined.length > 0) yield merged(joined.map((key) => part(input, { from: key, to: key })));
  for (const name of input.layout.single.filter((key) => key in input.accumulated)) {
    if (!input.elementwise) {
      yield part(input, { from: name, to: name });
      continue;
    }
    const size = sizeOf((input.trainable[name] as HostTensor).shape);
    const to = input.layout.pieceNames[name] as string;
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
  return {
    trainable: { [to]: pick(input.trainable, from) },
    optimizer: Object.fromEntries(
      input.slots.map((slot) => [`${slot}.${to}`, pick(input.optimizer, `${slot}.${from}`)]),
    ),
    accumulated: { [to]: pick(input.accumulated, from) },
  };
}

function merged(parts: readonly Part[]): Part {
  const all = (name: keyof Part): Named<HostTensor> => Object.assign({}, ...parts.map((one) => one[name]));
  return { trainable: all("trainable"), optimizer: all("optimizer"), accumulated: all("accumulated") };
}
