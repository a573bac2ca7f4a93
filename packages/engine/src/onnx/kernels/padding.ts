import type { KernelCall, KernelDefinition } from "./definition.ts";

type Paddings = readonly (readonly [number, number])[];

const paddingsOf = (call: KernelCall): Paddings => call.attributes["paddings"] as Paddings;

function paddedShape(call: KernelCall): number[] {
  return call.input("x").shape.map((size, axis) => {
    const [before, after] = paddingsOf(call)[axis] ?? [0, 0];
    return before + size + after;
  });
}

export const PADDING: readonly KernelDefinition[] = [
  {
    name: "PadV2",
    infer: (call) => [{ shape: paddedShape(call), dtype: call.input("x").dtype }],
    lower: ({ call, args, emit, outputs }) => {
      const paddings = paddingsOf(call);
      const pads = emit.ints([...paddings.map(([before]) => before), ...paddings.map(([, after]) => after)]);
      return [emit.op("Pad", [args[0] as string, pads, emit.scalar(call.number("constantValue"), outputs[0]?.dtype)])];
    },
  },
  {
    // One look-up per padded axis: ONNX's Pad has no symmetric mode.
    name: "MirrorPad",
    infer: (call) => [{ shape: paddedShape(call), dtype: call.input("x").dtype }],
    lower: ({ call, args, emit }) => {
      const { shape } = call.input("x");
      const symmetric = call.text("mode") === "symmetric";
      const padded = paddingsOf(call).reduce((value, [before, after], axis) => {
        if (before === 0 && after === 0) return value;
        const places = mirrored(shape[axis] as number, { before, after, symmetric });
        return emit.op("Gather", [value, emit.ints(places)], { attributes: { axis: BigInt(axis) } });
      }, args[0] as string);
      return [padded];
    },
  },
];

/** Where the values of a mirrored axis come from. Symmetric padding repeats the edge. */
function mirrored(
  size: number,
  { before, after, symmetric }: { readonly before: number; readonly after: number; readonly symmetric: boolean },
): number[] {
  const edge = symmetric ? 1 : 0;
  return Array.from({ length: before + size + after }, (_, i) => {
    const place = i - before;
    if (place < 0) return -place - edge;
    return place < size ? place : 2 * (size - 1) - place + edge;
  });
}
