import * as tf from "@tensorflow/tfjs-core";
import type { OnnxEmitter } from "../emitter.ts";
import type { KernelCall, KernelDefinition } from "./definition.ts";

type Pairs = readonly (readonly [number, number])[];

const { getPermuted, getReshaped, getReshapedPermuted } = tf.backend_util;

/** Kernels that trade one dimension for blocks of others: each is a reshape, a transposition and a reshape. */
export const BLOCKS: readonly KernelDefinition[] = [
  {
    name: "SpaceToBatchND",
    infer: (call) => [{ shape: spaceToBatch(call).result, dtype: call.input("x").dtype }],
    lower: ({ call, args, emit }) => {
      const { dtype } = call.input("x");
      const { paddings, ...steps } = spaceToBatch(call);
      const pads = emit.ints([...paddings.map(([before]) => before), ...paddings.map(([, after]) => after)]);
      return [rearrange(emit, emit.op("Pad", [args[0] as string, pads, emit.scalar(0, dtype)]), steps)];
    },
  },
  {
    name: "BatchToSpaceND",
    infer: (call) => [{ shape: batchToSpace(call).size, dtype: call.input("x").dtype }],
    lower: ({ call, args, emit }) => {
      const { begin, size, ...steps } = batchToSpace(call);
      const ends = begin.map((start, axis) => start + (size[axis] as number));
      return [emit.op("Slice", [rearrange(emit, args[0] as string, steps), emit.ints(begin), emit.ints(ends)])];
    },
  },
  {
    name: "DepthToSpace",
    infer: (call) => [{ shape: depthToSpace(call).result, dtype: call.input("x").dtype }],
    lower: ({ call, args, emit }) => [rearrange(emit, args[0] as string, depthToSpace(call))],
  },
];

interface Steps {
  readonly blocks: readonly number[];
  readonly perm: readonly number[];
  readonly result: readonly number[];
}

function rearrange(emit: OnnxEmitter, x: string, { blocks, perm, result }: Steps): string {
  const split = emit.op("Reshape", [x, emit.ints(blocks)]);
  return emit.op("Reshape", [
    emit.op("Transpose", [split], { attributes: { perm: perm.map(BigInt) } }),
    emit.ints(result),
  ]);
}

function spaceToBatch(call: KernelCall): Steps & { readonly paddings: Pairs } {
  const { shape } = call.input("x");
  const block = [...call.numbers("blockShape")];
  const product = tf.util.sizeFromShape(block);
  const given = call.attributes["paddings"] as Pairs;
  const paddings = shape.map((_, axis) => given[axis - 1] ?? ([0, 0] as const));
  const padded = shape.map((size, axis) => size + (paddings[axis]?.[0] ?? 0) + (paddings[axis]?.[1] ?? 0));
  const blocks = getReshaped(padded, block, product, false);
  return {
    paddings,
    blocks,
    perm: getPermuted(blocks.length, block.length, false),
    result: getReshapedPermuted(padded, block, product, false),
  };
}

function batchToSpace(
  call: KernelCall,
): Steps & { readonly begin: readonly number[]; readonly size: readonly number[] } {
  const shape = [...call.input("x").shape];
  const block = [...call.numbers("blockShape")];
  const crops = call.attributes["crops"] as Pairs;
  const product = tf.util.sizeFromShape(block);
  const blocks = getReshaped(shape, block, product);
  const result = getReshapedPermuted(shape, block, product);
  const cropped = result.map((_, axis) => crops[axis - 1] ?? ([0, 0] as const));
  return {
    blocks,
    perm: getPermuted(blocks.length, block.length),
    result,
    begin: cropped.map(([before]) => before),
    size: result.map((size, axis) => size - (cropped[axis]?.[0] ?? 0) - (cropped[axis]?.[1] ?? 0)),
  };
}

/** Depth counts blocks first: channel (i·blockSize + j)·depth + d goes to row i and column j of the block. */
function depthToSpace(call: KernelCall): Steps {
  const block = call.number("blockSize");
  const [batch, ...rest] = call.input("x").shape as [number, number, number, number];
  if (call.text("dataFormat") === "NHWC") {
    const [height, width, channels] = rest;
    const depth = channels / block ** 2;
    return {
      blocks: [batch, height, width, block, block, depth],
      perm: [0, 1, 3, 2, 4, 5],
      result: [batch, height * block, width * block, depth],
    };
  }
  const [channels, height, width] = rest;
  const depth = channels / block ** 2;
  return {
    blocks: [batch, block, block, depth, height, width],
    perm: [0, 3, 4, 1, 5, 2],
    result: [batch, depth, height * block, width * block],
  };
}
