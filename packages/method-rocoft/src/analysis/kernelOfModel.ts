import { matrix, PeftError } from "@peftjs/core";
import type { HostMatrix, HostTensor, Named, PeftModel, TensorRunner } from "@peftjs/core";
import { hostRunner } from "@peftjs/core/internal";
import * as tf from "@tensorflow/tfjs-core";
import { createJacobian, examplesOf, modelValues, widthOf } from "./jacobian.ts";
import type { Example, Jacobian, OutputFunction, Piece } from "./jacobian.ts";
import type { Kernel } from "./kernel.ts";
import { addProducts, type RowBlock } from "./kernelGram.ts";
import { reportOf, select, trained } from "./subsets.ts";
import type { Selected, Subset, SubsetReport } from "./subsets.ts";

/**
 * What two gradients g and g' come to. `sgd`: gᵀg'. `signgd`: sign(g)ᵀsign(g'). `asymmetric_signgd`: sign(g)ᵀg' with g of the row's
 * example, so the kernel of (A, B) is not that of (B, A) transposed.
 */
export type KernelFormula = "sgd" | "signgd" | "asymmetric_signgd";

export interface KernelOptions {
  /** Batches of the model's inputs; every row is an example, those with `row_weights` 0 are left out. */
  readonly examples: Iterable<Named<HostTensor>>;
  /** The kernel's columns. Default: the examples again. */
  readonly others?: Iterable<Named<HostTensor>> | undefined;
  /** Computes the gradients. Default: the active tfjs backend, which is slow for more than tiny models. */
  readonly runner?: TensorRunner | undefined;
  /** Default: what the attached methods train, without the biases beside it and the head (`trained()`). */
  readonly subset?: Subset | undefined;
  /** Default: "sgd". */
  readonly formula?: KernelFormula | undefined;
  /** `logits`: all of them; `binary`: f₁ − f₀. Default: "logits". */
  readonly outputs?: "logits" | "binary" | OutputFunction | undefined;
  /** Examples whose gradients are held at once. Default: all. */
  readonly exampleBlock?: number | undefined;
  /** Values of each gradient that are held at once. Default: as many as fit in 512 MB. */
  readonly parameterBlock?: number | undefined;
}

export interface EmpiricalKernel extends Kernel {
  readonly formula: KernelFormula;
  /** Which parameters were summed over. */
  readonly subset: SubsetReport;
  /** f(x_n) of the examples, [N, C], and of the others, [M, C]. */
  readonly values: HostMatrix;
  readonly otherValues: HostMatrix;
}

/** Memory of gradients that are held at once when nothing is said, in float32 values. */
const HELD = 2 ** 27;

/**
 * The empirical tangent kernel of a model at its present parameters and with its present adapters, in evaluation mode: one backward pass
 * per example, output and block of parameters, products in float64. With blocks of e examples and p values, 2·e·C·p float32 values are
 * held at once; fewer than all examples in a block cost further backward passes.
 * @throws PeftError `EXAMPLES_MISSING`, `BATCH_INVALID`, `SUBSET_EMPTY`, `OUTPUTS_INVALID`, `BLOCK_INVALID`.
 */
export async function empiricalKernel(model: PeftModel, options: KernelOptions): Promise<EmpiricalKernel> {
  const { formula = "sgd", runner = hostRunner } = options;
  const selected = select(model, options.subset ?? trained());
  const outputs = outputFunction(options.outputs ?? "logits");
  const examples = needExamples(examplesOf(options.examples));
  const others = options.others === undefined ? examples : needExamples(examplesOf(options.others));
  const values = await modelValues(model, examples, { outputs, runner });
  const otherValues = others === examples ? values : await modelValues(model, others, { outputs, runner });
  const count = outputCount([...values, ...otherValues]);
  const size = examples.length + (others === examples ? 0 : others.length);
  const width = options.parameterBlock ?? Math.max(Math.floor(HELD / (size * count)), 1);
  const pieces = chunks(selected, requireBlock("parameterBlock", width));
  const height = requireBlock("exampleBlock", options.exampleBlock ?? Math.max(examples.length, others.length));
  const jacobian = createJacobian(model, { outputs, runner, count });
  const shape = [examples.length, count, others.length, count] as const;
  const data = new Float64Array(examples.length * count * others.length * count);
  try {
    for (const chunk of pieces) {
      const rows = (start: number, of: readonly Example[]) => rowBlock(jacobian, { of, start, height, chunk, count });
      await addChunk({ data, columns: others.length * count }, { examples, others, height, formula, rows });
    }
  } finally {
    await jacobian.dispose();
  }
  const subset = reportOf(selected);
  return {
    ...{ shape, data, formula, subset },
    values: joined(values, count),
    otherValues: joined(otherValues, count),
  };
}

interface ChunkOptions {
  readonly examples: readonly Example[];
  readonly others: readonly Example[];
  readonly height: number;
  readonly formula: KernelFormula;
  readonly rows: (start: number, of: readonly Example[]) => Promise<RowBlock>;
}

/** What one block of parameters adds to the kernel. */
async function addChunk(
  kernel: { readonly data: Float64Array; readonly columns: number },
  { examples, others, height, formula, rows }: ChunkOptions,
): Promise<void> {
  const same = examples === others;
  const mirrored = same && formula !== "asymmetric_signgd";
  for (let i = 0; i < examples.length; i += height) {
    const own = await rows(i, examples);
    const left = formula === "sgd" ? own : signs(own);
    for (let j = mirrored ? i : 0; j < others.length; j += height) {
      const other = same && j === i ? own : await rows(j, others);
      addProducts(kernel, { left, right: formula === "signgd" ? signs(other) : other, mirrored });
    }
  }
}

async function rowBlock(
  jacobian: Jacobian,
  {
    of,
    start,
    height,
    chunk,
    count,
  }: {
    readonly of: readonly Example[];
    readonly start: number;
    readonly height: number;
    readonly chunk: readonly Piece[];
    readonly count: number;
  },
): Promise<RowBlock> {
  const block = of.slice(start, start + height);
  const data = await jacobian.rows(block, chunk);
  return { data, width: widthOf(chunk), count: block.length * count, offset: start * count };
}

function signs({ data, ...block }: RowBlock): RowBlock {
  return { ...block, data: data.map(Math.sign) };
}

/** Everything that counts, in order, in chunks of at most `width` values: several parameters in one, or one in several. */
function chunks(selected: readonly Selected[], width: number): Piece[][] {
  const result: Piece[][] = [];
  let room = 0;
  for (const one of selected) {
    for (let from = 0; from < one.size;) {
      if (room === 0) {
        result.push([]);
        room = width;
      }
      const to = Math.min(from + room, one.size);
      result.at(-1)!.push({ selected: one, from, to });
      room -= to - from;
      from = to;
    }
  }
  return result;
}

function outputFunction(outputs: NonNullable<KernelOptions["outputs"]>): OutputFunction {
  if (typeof outputs === "function") return outputs;
  if (outputs === "logits") return ({ logits }) => requireLogits(logits);
  return ({ logits }) => {
    const f = requireLogits(logits);
    if (f.size !== 2)
      throw new PeftError(
        "OUTPUTS_INVALID",
        `"binary" is the difference of two logits, but an example has ${f.size}. Use "logits", or a function of the outputs.`,
      );
    const [first, second] = tf.split(tf.reshape(f, [2]), 2);
    return tf.sub(second!, first!);
  };
}

function requireLogits(logits: tf.Tensor | undefined): tf.Tensor {
  if (logits !== undefined) return logits;
  throw new PeftError(
    "OUTPUTS_INVALID",
    "The model returns no logits. Load it with a head, or pass a function that takes what the model returns to the values to look at.",
  );
}

function outputCount(values: readonly Float32Array[]): number {
  const counts = new Set(values.map(({ length }) => length));
  const [count] = counts;
  if (counts.size === 1 && count !== undefined && count > 0) return count;
  throw new PeftError(
    "OUTPUTS_INVALID",
    `All examples need equally many outputs, got ${[...counts].join(" and ")}. Where there is an output per token, choose some with a function.`,
  );
}

function needExamples(examples: readonly Example[]): readonly Example[] {
  if (examples.length > 0) return examples;
  throw new PeftError("EXAMPLES_MISSING", "A kernel needs at least one example, got none. Pass batches of inputs.");
}

function requireBlock(name: string, size: number): number {
  if (Number.isInteger(size) && size > 0) return size;
  throw new PeftError("BLOCK_INVALID", `${name} must be a positive whole number, got ${size}.`);
}

function joined(values: readonly Float32Array[], count: number): HostMatrix {
  return matrix(Float64Array.from(values.flatMap((row) => [...row])), [values.length, count]);
}
