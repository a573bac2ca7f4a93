import { float32, PeftError, sizeOf } from "@peftjs/core";
import type { HostTensor, Named, PeftModel, TensorRunner } from "@peftjs/core";
import { gradientsOf } from "@peftjs/core/internal";
import * as tf from "@tensorflow/tfjs-core";
import type { Selected } from "./subsets.ts";

/** Traceable: the C outputs of a batch of one example, any shape of C values, from what the model returns. */
export type OutputFunction = (outputs: Named<tf.Tensor>, batch: Named<tf.Tensor>) => tf.Tensor;

/** One example: a batch of one row. */
export type Example = Named<HostTensor>;

/** Values `from` … `to` of what counts of a parameter. */
export interface Piece {
  readonly selected: Selected;
  readonly from: number;
  readonly to: number;
}

/** What is not the model's input. */
const NO_INPUTS = new Set(["labels", "row_weights"]);

/**
 * Rows of batches as batches of their own, without labels; rows of weight 0 only fill up and are left out. Batches of one row stay as
 * they are.
 * @throws PeftError `BATCH_INVALID` when the tensors of a batch do not have equally many rows.
 */
export function examplesOf(batches: Iterable<Named<HostTensor>>): Example[] {
  return [...batches].flatMap((batch) => {
    const inputs = Object.entries(batch).filter(([name]) => !NO_INPUTS.has(name));
    const count = inputs[0]?.[1].shape[0] ?? 0;
    if (count === 1) return [Object.fromEntries(inputs)];
    const odd = inputs.find(([, { shape }]) => shape[0] !== count);
    if (odd !== undefined)
      throw new PeftError(
        "BATCH_INVALID",
        `A batch of ${count} rows has "${odd[0]}" of shape [${odd[1].shape.join(", ")}], which cannot be divided among them. Pass batches of one row.`,
      );
    const weights = batch["row_weights"]?.data;
    const rows = Array.from({ length: count }, (_, row) => row).filter((row) => weights?.[row] !== 0);
    return rows.map((row) => Object.fromEntries(inputs.map(([name, tensor]) => [name, rowOf(tensor, row)])));
  });
}

function rowOf({ dtype, shape, data }: HostTensor, row: number): HostTensor {
  const size = sizeOf(shape.slice(1));
  return { dtype, shape: [1, ...shape.slice(1)], data: data.slice(row * size, (row + 1) * size) };
}

/** How gradients are computed. */
export interface ProgramOptions {
  readonly outputs: OutputFunction;
  readonly runner: TensorRunner;
}

/** f(x) of examples, [C] each, at the model's present parameters in evaluation mode. */
export async function modelValues(
  model: PeftModel,
  examples: readonly Example[],
  { outputs, runner }: ProgramOptions,
): Promise<Float32Array[]> {
  const program = runner.compile(({ frozen = {}, trainable = {}, batch = {} }) => {
    const f = outputs(model.forward({ frozen, trainable }, batch, { training: false }), batch);
    return { outputs: { values: tf.reshape(f, [f.size]) } };
  });
  try {
    const values: Float32Array[] = [];
    for (const batch of examples) {
      const { outputs: result } = await program.run({ frozen: model.frozen(), trainable: model.trainable(), batch });
      values.push(result!["values"]!.data as Float32Array);
    }
    return values;
  } finally {
    await program.dispose();
  }
}

export interface Jacobian {
  /** ∂f_a(x)/∂θ over the pieces, one after another, of every example and output: [examples·C, width]. */
  rows(examples: readonly Example[], pieces: readonly Piece[]): Promise<Float32Array>;
  dispose(): Promise<void>;
}

/**
 * Gradients of single outputs of single examples. Which output is an argument of the program. There is one program per choice of
 * parameters, and only the latest is kept.
 */
export function createJacobian(
  model: PeftModel,
  { count, ...options }: ProgramOptions & { readonly count: number },
): Jacobian {
  let latest: { readonly keys: string; readonly program: ReturnType<TensorRunner["compile"]> } | null = null;
  const dispose = async (): Promise<void> => {
    await latest?.program.dispose();
    latest = null;
  };
  const programFor = async (keys: readonly string[]): Promise<ReturnType<TensorRunner["compile"]>> => {
    if (latest?.keys === keys.join()) return latest.program;
    await dispose();
    const program = options.runner.compile(outputGradients(model, { outputs: options.outputs, keys }));
    latest = { keys: keys.join(), program };
    return program;
  };
  const selectors = Array.from({ length: count }, (_, output) =>
    float32(
      Float32Array.from({ length: count }, (_, a) => (a === output ? 1 : 0)),
      [count],
    ),
  );
  return {
    dispose,
    rows: async (examples, pieces) => {
      const program = await programFor(pieces.map(({ selected }) => selected.key));
      const width = widthOf(pieces);
      const result = new Float32Array(examples.length * count * width);
      let at = 0;
      for (const batch of examples) {
        for (const selector of selectors) {
          const tensors = { frozen: model.frozen(), trainable: model.trainable() };
          const { gradients = {} } = await program.run({ ...tensors, batch, choice: { selector } });
          gather(gradients, pieces, result.subarray(at, (at += width)));
        }
      }
      return result;
    },
  };
}

/** Values of a row of the Jacobian over the pieces. */
export function widthOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { from, to }) => sum + to - from, 0);
}

function gather(gradients: Named<HostTensor>, pieces: readonly Piece[], row: Float32Array): void {
  let at = 0;
  for (const { selected, from, to } of pieces) {
    const { data } = gradients[selected.key]!;
    if (selected.places === null) row.set(data.subarray(from, to), at);
    else for (let i = from; i < to; i++) row[at + i - from] = data[selected.places[i]!]!;
    at += to - from;
  }
}

/** Traceable: the gradient of Σ_a selector_a·f_a(x) by the parameters under some keys, zeros where it depends on none of them. */
function outputGradients(
  model: PeftModel,
  { outputs, keys }: { readonly outputs: OutputFunction; readonly keys: readonly string[] },
): Parameters<TensorRunner["compile"]>[0] {
  return ({ frozen = {}, trainable = {}, batch = {}, choice = {} }) => {
    const parameters = keys.map((key) => (trainable[key] ?? frozen[key]) as tf.Tensor);
    const output = (): tf.Scalar => {
      const f = outputs(model.forward({ frozen, trainable }, batch, { training: false }), batch);
      return tf.sum(tf.mul(tf.reshape(f, [f.size]), choice["selector"]!));
    };
    const gradients = gradientsOf(output, parameters);
    return { gradients: Object.fromEntries(keys.map((key, at) => [key, gradients[at]!])) };
  };
}
