import { PeftError, sizeOf } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import type { OnnxEmitter } from "../emitter.ts";
import type { KernelCall } from "./definition.ts";

/** How windows lie over the spatial axes of images or volumes. Lists have one entry per spatial axis. */
export interface Windows {
  readonly batch: number;
  readonly channels: number;
  readonly channelsLast: boolean;
  readonly input: readonly number[];
  readonly output: readonly number[];
  readonly size: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** What is added before and after (cut off where negative) so that the windows fit exactly. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** Shape of the result of the forward kernel. */
  readonly resultShape: readonly number[];
}

/** Where a kernel finds the shapes its windows follow from. */
export interface WindowShapes {
  readonly input: readonly number[];
  /** Shape of the filter of a convolution; without it the windows are those of a pooling kernel. */
  readonly filter?: readonly number[];
  readonly depthwise?: boolean;
  /** Shape of the results' gradient, in gradient kernels. */
  readonly gradient?: readonly number[];
}

/**
 * Windows of a kernel call, from tfjs's own helpers. Gradient kernels take the number of windows from the gradient they are given:
 * tfjs does not pass the rounding mode of the forward kernel on to them.
 * @throws PeftError SHAPE_MISMATCH where the input is too small for a single window.
 */
export function windowsOf(call: KernelCall, shapes: WindowShapes): Windows {
  const info = shapes.input.length === 5 ? volumeInfo(call, shapes) : imageInfo(call, shapes);
  const windows = measure(info, shapes.gradient);
  if (windows.output.every((count) => count > 0)) return windows;
  throw new PeftError(
    "SHAPE_MISMATCH",
    `${call.kernel}: a window of [${windows.size.join(", ")}] with dilation [${windows.dilations.join(", ")}] is larger than the padded input, ` +
      `[${windows.input.join(", ")}] with pad ${JSON.stringify(call.attributes["pad"])}. Pad more, or use a smaller window.`,
  );
}

type Info = tf.backend_util.Conv2DInfo | tf.backend_util.Conv3DInfo;
type Shape4 = [number, number, number, number];
type Shape5 = [number, number, number, number, number];

/** tfjs checked these attributes when the operation was called. */
function settings({ attributes }: KernelCall) {
  return {
    strides: attributes["strides"] as [number, number],
    dilations: (attributes["dilations"] ?? 1) as [number, number],
    pad: attributes["pad"] as "same" | "valid" | number,
    rounding: attributes["dimRoundingMode"] as "floor" | "round" | "ceil",
    filterSize: attributes["filterSize"] as [number, number],
  };
}

function imageInfo(call: KernelCall, { input, filter, depthwise = false }: WindowShapes): Info {
  const { strides, dilations, pad, rounding, filterSize } = settings(call);
  const format = tf.backend_util.convertConv2DDataFormat((call.attributes["dataFormat"] ?? "NHWC") as "NHWC" | "NCHW");
  const shape = input as Shape4;
  return filter === undefined
    ? tf.backend_util.computePool2DInfo(shape, filterSize, strides, dilations, pad, rounding, format)
    : tf.backend_util.computeConv2DInfo(shape, filter as Shape4, strides, dilations, pad, rounding, depthwise, format);
}

function volumeInfo(call: KernelCall, { input, filter }: WindowShapes): Info {
  const { strides, dilations, pad, rounding, filterSize } = settings(call);
  const [steps, rates] = [strides as unknown as number, dilations as unknown as number];
  const shape = input as Shape5;
  return filter === undefined
    ? tf.backend_util.computePool3DInfo(shape, filterSize as unknown as number, steps, rates, pad, rounding)
    : tf.backend_util.computeConv3DInfo(shape, filter as Shape5, steps, rates, pad as "same" | "valid");
}

const AXES = ["Depth", "Height", "Width"] as const;
const PADDED = { Depth: "front", Height: "top", Width: "left" } as const;

function measure(info: Info, gradient?: readonly number[]): Windows {
  const axes = "inDepth" in info ? AXES : AXES.slice(1);
  const numbers = info as unknown as Readonly<Record<string, number>>;
  const read = (name: string): number[] => axes.map((axis) => numbers[`${name}${axis}`] as number);
  const channelsLast = info.dataFormat === "channelsLast";
  const [input, size, strides, dilations] = [read("in"), read("filter"), read("stride"), read("dilation")];
  const output =
    gradient === undefined ? read("out") : channelsLast ? gradient.slice(1, -1) : gradient.slice(2, 2 + axes.length);
  const before = axes.map((axis) => (info.padInfo as unknown as Readonly<Record<string, number>>)[PADDED[axis]] ?? 0);
  const after = input.map((length, axis) => {
    const [stride, dilation] = [strides[axis] as number, dilations[axis] as number];
    const covered = ((output[axis] as number) - 1) * stride + ((size[axis] as number) - 1) * dilation + 1;
    return covered - length - (before[axis] as number);
  });
  const { batchSize: batch, inChannels: channels, outShape: resultShape } = info;
  return { batch, channels, channelsLast, input, output, size, strides, dilations, before, after, resultShape };
}

/** Sizes of the spatial axes after `frame`. */
export function framedSize({ input, before, after }: Windows): number[] {
  return input.map((length, axis) => length + (before[axis] as number) + (after[axis] as number));
}

export function isPadded({ before, after }: Windows): boolean {
  return [...before, ...after].some((count) => count > 0);
}

/** 1×1 windows over every element: the kernel works on each pixel by itself. */
export function isPointwise(windows: Windows): boolean {
  const { size, strides, before, after, channelsLast } = windows;
  return channelsLast && [...size, ...strides].every((n) => n === 1) && [...before, ...after].every((n) => n === 0);
}

function transposed(emit: OnnxEmitter, x: string, perm: readonly number[]): string {
  return emit.op("Transpose", [x], { attributes: { perm: perm.map(BigInt) } });
}

const spatial = (windows: Windows, from: number): number[] => windows.input.map((_, axis) => axis + from);

/** [batch, …, channels] → [batch, channels, …], the order of ONNX. */
function firstOf(emit: OnnxEmitter, x: string, rank: number): string {
  return transposed(emit, x, [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, axis) => axis + 1)]);
}

/** [batch, channels, …] → [batch, …, channels]. */
function lastOf(emit: OnnxEmitter, x: string, rank: number): string {
  return transposed(emit, x, [0, ...Array.from({ length: rank - 2 }, (_, axis) => axis + 2), 1]);
}

/** A tensor in the call's order, with the channels in front. */
export function toFirst(emit: OnnxEmitter, x: string, windows: Windows): string {
  return windows.channelsLast ? firstOf(emit, x, windows.input.length + 2) : x;
}

/** A tensor with the channels in front, back in the call's order. */
export function fromFirst(emit: OnnxEmitter, x: string, windows: Windows): string {
  return windows.channelsLast ? lastOf(emit, x, windows.input.length + 2) : x;
}

/** A tensor in the call's order, with the channels last. */
export function toLast(emit: OnnxEmitter, x: string, windows: Windows): string {
  return windows.channelsLast ? x : lastOf(emit, x, windows.input.length + 2);
}

interface FrameOptions {
  readonly windows: Windows;
  /** Name of the scalar that surrounds the input. */
  readonly fill: string;
  readonly layout: "first" | "last";
}

/** The input with what the windows reach beyond it: every window lies inside the result, and the last ends at its end. */
export function frame(emit: OnnxEmitter, x: string, { windows, fill, layout }: FrameOptions): string {
  return pad(emit, x, { before: windows.before, after: windows.after, fill, layout });
}

/** The adjoint of `frame`, channels in front: the part of a framed gradient that belongs to the input. */
export function unframe(emit: OnnxEmitter, x: string, windows: Windows): string {
  const negated = (counts: readonly number[]): number[] => counts.map((count) => (count === 0 ? 0 : -count));
  const [before, after] = [negated(windows.before), negated(windows.after)];
  return pad(emit, x, { before, after, fill: emit.scalar(0), layout: "first" });
}

interface PadOptions {
  readonly before: readonly number[];
  readonly after: readonly number[];
  readonly fill: string;
  readonly layout: "first" | "last";
}

function pad(emit: OnnxEmitter, x: string, { before, after, fill, layout }: PadOptions): string {
  if ([...before, ...after].every((count) => count === 0)) return x;
  const around = (counts: readonly number[]): number[] => (layout === "first" ? [0, 0, ...counts] : [0, ...counts, 0]);
  return emit.op("Pad", [x, emit.ints([...around(before), ...around(after)]), fill]);
}

/** Offsets of a window's elements in row-major order, the order in which tfjs visits them. */
export function offsets({ size }: Windows): number[][] {
  return size.reduce<number[][]>(
    (all, length) => all.flatMap((head) => Array.from({ length }, (_, i) => [...head, i])),
    [[]],
  );
}

/** One element of every window: [batch, …framed, channels] → [batch, …output, channels]. */
export function elementOfWindows(
  emit: OnnxEmitter,
  framed: string,
  { windows, offset }: { readonly windows: Windows; readonly offset: readonly number[] },
): string {
  const { output, strides, dilations } = windows;
  if (isPointwise(windows)) return framed;
  const starts = offset.map((index, axis) => index * (dilations[axis] as number));
  const ends = starts.map((start, axis) => start + ((output[axis] as number) - 1) * (strides[axis] as number) + 1);
  return emit.op("Slice", [
    framed,
    emit.ints(starts),
    emit.ints(ends),
    emit.ints(spatial(windows, 1)),
    emit.ints(strides),
  ]);
}

/** All elements of the windows of a channels-last tensor, one after the other: [window elements, batch, …output, channels]. */
export function stackedElements(
  emit: OnnxEmitter,
  x: string,
  { windows, fill }: { readonly windows: Windows; readonly fill: string },
): string {
  const framed = frame(emit, x, { windows, fill, layout: "last" });
  const elements = offsets(windows).map((offset) =>
    emit.op("Unsqueeze", [elementOfWindows(emit, framed, { windows, offset }), emit.ints([0])]),
  );
  return emit.op("Concat", elements, { attributes: { axis: 0n } });
}

/** 0, 1, 2, … in a shape. */
export function flatPositions(emit: OnnxEmitter, shape: readonly number[]): string {
  const [zero, one] = [emit.scalar(0, "int32"), emit.scalar(1, "int32")];
  return emit.op("Reshape", [emit.op("Range", [zero, emit.scalar(sizeOf(shape), "int32"), one]), emit.ints(shape)]);
}

/** Zeros of a shape, with every value added at its flat position. Values at −1 are dropped. */
export function scatterSum(
  emit: OnnxEmitter,
  shape: readonly number[],
  { positions, values }: { readonly positions: string; readonly values: string },
): string {
  const flat = (value: string): string => emit.op("Reshape", [value, emit.ints([-1])]);
  const size = sizeOf(shape);
  // One place more than there are: −1 counts from the end.
  const zeros = emit.op("Expand", [emit.scalar(0), emit.ints([size + 1])]);
  const sums = emit.op("ScatterElements", [zeros, flat(positions), flat(values)], {
    attributes: { axis: 0n, reduction: "add" },
  });
  const kept = emit.op("Slice", [sums, emit.ints([0]), emit.ints([size]), emit.ints([0])]);
  return emit.op("Reshape", [kept, emit.ints(shape)]);
}
