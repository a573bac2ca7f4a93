import fc from "fast-check";

/** Random windows over images or volumes, as the arguments of tfjs's convolutions and pooling operations. */
export interface WindowCase {
  readonly batch: number;
  readonly input: number[];
  readonly channels: number;
  readonly size: number[];
  readonly strides: number[];
  readonly dilations: number[];
  readonly pad: "same" | "valid" | number | [number, number][];
  readonly rounding: "floor" | "round" | "ceil" | undefined;
  readonly seed: number;
}

interface CaseOptions {
  readonly axes: 2 | 3;
  /** Kernels without dilation get 1; else either strides or dilations are 1, as tfjs demands. */
  readonly dilated?: boolean;
  /** Padding per side: tfjs's images only. */
  readonly explicit?: boolean;
  /** Without it every window holds at least one element of the input. */
  readonly emptyWindows?: boolean;
  readonly maxWindow?: number;
  /** Operations without `dimRoundingMode` get none. */
  readonly rounded?: boolean;
}

export function windowCases({
  axes,
  dilated = false,
  explicit = false,
  emptyWindows = false,
  rounded = true,
  maxWindow = 3,
}: CaseOptions) {
  const list = (min: number, max: number): fc.Arbitrary<number[]> =>
    fc.array(fc.integer({ min, max }), { minLength: axes, maxLength: axes });
  const perSide = fc
    .array(fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 2 })), { minLength: 2, maxLength: 2 })
    .map((spatial): [number, number][] => [[0, 0], ...spatial, [0, 0]]);
  const pads: fc.Arbitrary<WindowCase["pad"]>[] = [
    fc.constantFrom<WindowCase["pad"]>("same", "valid"),
    fc.integer({ min: 0, max: 2 }),
    ...(explicit ? [perSide] : []),
  ];
  return fc
    .record({
      batch: fc.integer({ min: 1, max: 3 }),
      input: list(1, axes === 2 ? 7 : 5),
      channels: fc.integer({ min: 1, max: 3 }),
      size: list(1, maxWindow),
      strides: list(1, 3),
      dilations: list(1, 2),
      isDilated: fc.boolean(),
      pad: fc.oneof(...pads),
      rounding: fc.constantFrom<WindowCase["rounding"]>(undefined, "floor", "round", "ceil"),
      seed: fc.integer({ min: 1, max: 1000 }),
    })
    .map(({ isDilated, rounding, ...rest }): WindowCase => {
      const ones = rest.strides.map(() => 1);
      return {
        ...rest,
        ...(dilated && isDilated ? { strides: ones } : { dilations: ones }),
        rounding: typeof rest.pad === "string" || !rounded ? undefined : rounding,
      };
    })
    .map(square)
    .filter((windows) => fits(windows, emptyWindows));
}

/** With one number as padding tfjs measures both axes of an image by the first one's window and stride; equal ones are what it means. */
function square(windows: WindowCase): WindowCase {
  if (typeof windows.pad !== "number" || windows.size.length !== 2) return windows;
  const equal = (list: readonly number[]): number[] => list.map(() => list[0] as number);
  return {
    ...windows,
    size: equal(windows.size),
    strides: equal(windows.strides),
    dilations: equal(windows.dilations),
  };
}

/** At least one window on every axis, and (unless empty ones are allowed) an element of the input in each. */
function fits({ input, size, strides, dilations, pad, rounding }: WindowCase, emptyWindows: boolean): boolean {
  return input.every((length, axis) => {
    const [count, stride, dilation] = [size[axis] as number, strides[axis] as number, dilations[axis] as number];
    const reach = (count - 1) * dilation + 1;
    const [before, after] = sides(pad, { axis, length, stride, reach });
    const room = length + before + after - reach;
    const steps = Math[rounding ?? "floor"](room / stride);
    const holdsElement = (place: number): boolean =>
      Array.from({ length: count }, (_, i) => place * stride - before + i * dilation).some(
        (at) => at >= 0 && at < length,
      );
    return room >= 0 && (emptyWindows || Array.from({ length: steps + 1 }, (_, i) => i).every(holdsElement));
  });
}

interface Axis {
  readonly axis: number;
  readonly length: number;
  readonly stride: number;
  readonly reach: number;
}

function sides(pad: WindowCase["pad"], { axis, length, stride, reach }: Axis): [number, number] {
  if (pad === "valid") return [0, 0];
  if (typeof pad === "number") return [pad, pad];
  if (pad !== "same") return pad[axis + 1] as [number, number];
  const total = Math.max(0, (Math.ceil(length / stride) - 1) * stride + reach - length);
  return [Math.floor(total / 2), Math.ceil(total / 2)];
}
