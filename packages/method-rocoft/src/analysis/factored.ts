import { matmul, matrix, PeftError, transpose } from "@peftjs/core";
import type { HostMatrix } from "@peftjs/core";
import { dot } from "./dot.ts";
import type { Kernel } from "./kernel.ts";

/** What an example leaves at a layer that T tokens pass: T may differ between examples. */
export interface Sensitivities {
  /** D_na = ∂f_a(x_n)/∂(the layer's output), [T, out], for each of the C outputs a of the model. Rows of padding are zero. */
  readonly sensitivities: readonly HostMatrix[];
}

export interface LayerExample extends Sensitivities {
  /** X_n [T, in]: a linear layer's inputs; or x̂_n [T, out], a norm's input after it is normalised, before gain and shift. */
  readonly inputs: HostMatrix;
}

export interface EmbeddingExample extends Sensitivities {
  /** Which row of the table each of the T tokens reads. */
  readonly ids: ArrayLike<number>;
}

export interface FactoredOptions<E> {
  /** The examples in the kernel's columns. Default: those in its rows. */
  readonly others?: readonly E[] | undefined;
}

export interface WeightSlices {
  /** R: these rows of the weight [out, in], of which a layer that has fewer counts those it has. Default: all. */
  readonly rows?: readonly number[];
  /** C: these columns. Default: all. */
  readonly columns?: readonly number[];
}

/**
 * The part of a linear layer's weight W [out, in] in the tangent kernel, from factors of its gradients D_naᵀX_n, in float64:
 * K[n, a, m, b] = Σ_{t,s} (D_na·D_mbᵀ)_{ts}·(X_n·X_mᵀ)_{ts}, with D[:, R] in place of D for rows R and X[:, C] in place of X for columns C.
 *
 * A pair of gradients costs T²·(in + out) products instead of the in·out of explicit ones: less where T < √(in·out/(in + out)), which is
 * 19.6 for 768 × 768 and 45.3 for 4096 × 4096. Otherwise compute the gradients one layer at a time. An example keeps T·(in + C·out) values
 * instead of C·in·out.
 * @throws PeftError `SHAPE_MISMATCH`.
 */
export function weightKernel(
  examples: readonly LayerExample[],
  { others, rows, columns }: FactoredOptions<LayerExample> & WeightSlices = {},
): Kernel {
  const sliced = ({ inputs, sensitivities }: LayerExample): LayerExample => ({
    inputs: chosen(inputs, columns),
    sensitivities: sensitivities.map((d) => chosen(d, rows)),
  });
  return gram(examples, { others, tokens: tokensOfInputs, factor: sliced, product: weightProducts });
}

/**
 * The part of a bias, or of a norm's shift, whose gradient is Σ_t D_na[t]: K[n, a, m, b] = ⟨Σ_t D_na[t], Σ_s D_mb[s]⟩.
 * @throws PeftError `SHAPE_MISMATCH`.
 */
export function biasKernel(examples: readonly Sensitivities[], options: FactoredOptions<Sensitivities> = {}): Kernel {
  const tokens = ({ sensitivities }: Sensitivities): number => sensitivities[0]?.rows ?? 0;
  const factor = ({ sensitivities }: Sensitivities): HostMatrix => tokenSums(sensitivities);
  return gram(examples, { ...options, tokens, factor, product: vectorProducts });
}

/**
 * The part of a norm's gain, whose gradient is Σ_t D_na[t]∘x̂_n[t]: K[n, a, m, b] = ⟨Σ_t D_na[t]∘x̂_n[t], Σ_s D_mb[s]∘x̂_m[s]⟩.
 * @throws PeftError `SHAPE_MISMATCH`.
 */
export function gainKernel(examples: readonly LayerExample[], options: FactoredOptions<LayerExample> = {}): Kernel {
  const factor = ({ inputs, sensitivities }: LayerExample): HostMatrix => tokenSums(sensitivities, inputs);
  return gram(examples, { ...options, tokens: tokensOfInputs, factor, product: vectorProducts });
}

/**
 * The part of an embedding table, whose row i has the gradient Σ_{t: id_t = i} D_na[t]: K[n, a, m, b] = Σ D_na[t]·D_mb[s] over tokens t, s
 * of equal ids.
 * @throws PeftError `SHAPE_MISMATCH`.
 */
export function embeddingKernel(
  examples: readonly EmbeddingExample[],
  options: FactoredOptions<EmbeddingExample> = {},
): Kernel {
  const product = (one: ReadonlyMap<number, HostMatrix>, other: typeof one, outputs: number): HostMatrix["data"] => {
    const sum = new Float64Array(outputs * outputs);
    for (const [id, row] of one) {
      const match = other.get(id);
      if (match !== undefined) vectorProducts(row, match).forEach((value, at) => (sum[at]! += value));
    }
    return sum;
  };
  return gram(examples, { ...options, tokens: ({ ids }) => ids.length, factor: tableRows, product });
}

/**
 * The kernel of several parameters: the sum of their kernels.
 * @throws PeftError `SHAPE_MISMATCH`.
 */
export function sumKernels(kernels: readonly Kernel[]): Kernel {
  const [first, ...rest] = kernels;
  if (first === undefined) throw mismatch("at least one kernel is needed for a sum, got none");
  const data = Float64Array.from(first.data);
  for (const kernel of rest) {
    if (kernel.shape.join() !== first.shape.join())
      throw mismatch(`kernels to sum have one shape, got [${first.shape.join(", ")}] and [${kernel.shape.join(", ")}]`);
    kernel.data.forEach((value, at) => (data[at]! += value));
  }
  return { shape: first.shape, data };
}

interface Gram<E, F> extends FactoredOptions<E> {
  readonly tokens: (example: E) => number;
  /** What of an example is multiplied with others. */
  readonly factor: (example: E) => F;
  /** [C, C] of two examples. */
  readonly product: (one: F, other: F, outputs: number) => HostMatrix["data"];
}

function gram<E extends Sensitivities, F>(
  examples: readonly E[],
  { others, tokens, factor, product }: Gram<E, F>,
): Kernel {
  const outputs = outputsOf([...examples, ...(others ?? [])], tokens);
  const left = examples.map(factor);
  const right = others?.map(factor) ?? left;
  const data = new Float64Array(left.length * outputs * right.length * outputs);
  const place = (n: number, a: number, m: number, b: number): number =>
    ((n * outputs + a) * right.length + m) * outputs + b;
  left.forEach((one, n) => {
    // Of a symmetric kernel, one half is the other's mirror image.
    for (let m = others === undefined ? n : 0; m < right.length; m++)
      product(one, right[m]!, outputs).forEach((value, at) => {
        const [a, b] = [Math.floor(at / outputs), at % outputs];
        data[place(n, a, m, b)] = value;
        if (others === undefined) data[place(m, b, n, a)] = value;
      });
  });
  return { shape: [left.length, outputs, right.length, outputs], data };
}

/** C, which is the same for all examples, as T is for all that an example brings, and the width for all sensitivities. */
function outputsOf<E extends Sensitivities>(examples: readonly E[], tokens: (example: E) => number): number {
  const first = examples[0]?.sensitivities;
  if (first?.[0] === undefined) throw mismatch("an example and its sensitivities are needed, got none");
  const width = first[0].columns;
  examples.forEach((example, n) => {
    const { sensitivities } = example;
    if (sensitivities.length !== first.length)
      throw mismatch(
        `example ${n} has sensitivities of ${sensitivities.length} outputs, the first has ${first.length}`,
      );
    const wrong = sensitivities.find(({ rows, columns }) => rows !== tokens(example) || columns !== width);
    if (wrong !== undefined)
      throw mismatch(
        `the sensitivities of example ${n} must be ${tokens(example)} × ${width}, got ${wrong.rows} × ${wrong.columns}`,
      );
  });
  return first.length;
}

function tokensOfInputs({ inputs }: LayerExample): number {
  return inputs.rows;
}

/** The columns of a matrix that a list names, in their own order; all of them without a list. */
function chosen(from: HostMatrix, list: readonly number[] | undefined): HostMatrix {
  if (list === undefined) return from;
  const kept = Array.from({ length: from.columns }, (_, at) => at).filter((at) => list.includes(at));
  const data = new Float64Array(from.rows * kept.length);
  for (let at = 0, t = 0; t < from.rows; t++) for (const j of kept) data[at++] = from.data[t * from.columns + j]!;
  return matrix(data, [from.rows, kept.length]);
}

/** Σ_{t,s} (D_na·D_mbᵀ)_{ts}·(X_n·X_mᵀ)_{ts}. X_n·X_mᵀ serves all pairs of outputs. */
function weightProducts(one: LayerExample, other: LayerExample): Float64Array {
  const inputs = matmul(one.inputs, transpose(other.inputs));
  const right = other.sensitivities.map(transpose);
  return Float64Array.from(
    one.sensitivities.flatMap((left) => right.map((d) => dot(inputs.data, matmul(left, d).data))),
  );
}

/** Products of the rows of two [C, width] matrices. */
function vectorProducts(one: HostMatrix, other: HostMatrix): HostMatrix["data"] {
  return matmul(one, transpose(other)).data;
}

/** Σ_t D_a[t], or Σ_t D_a[t]∘x̂[t], one row an output: [C, out]. */
function tokenSums(sensitivities: readonly HostMatrix[], normalised?: HostMatrix): HostMatrix {
  const width = sensitivities[0]!.columns;
  if (normalised !== undefined && normalised.columns !== width)
    throw mismatch(`a norm's input has the width of its output, ${width}, got ${normalised.columns}`);
  const sums = new Float64Array(sensitivities.length * width);
  sensitivities.forEach(({ data }, a) => {
    for (let at = 0; at < data.length; at++) sums[a * width + (at % width)]! += data[at]! * (normalised?.data[at] ?? 1);
  });
  return matrix(sums, [sensitivities.length, width]);
}

/** Of every row of the table that is read, Σ_{t: id_t = i} D_a[t], one row an output: [C, out]. */
function tableRows({ ids, sensitivities }: EmbeddingExample): ReadonlyMap<number, HostMatrix> {
  const width = sensitivities[0]!.columns;
  const table = new Map<number, HostMatrix>();
  for (let t = 0; t < ids.length; t++) {
    const row =
      table.get(ids[t]!) ?? matrix(new Float64Array(sensitivities.length * width), [sensitivities.length, width]);
    table.set(ids[t]!, row);
    sensitivities.forEach(({ data }, a) => {
      for (let j = 0; j < width; j++) row.data[a * width + j]! += data[t * width + j]!;
    });
  }
  return table;
}

function mismatch(what: string): PeftError {
  return new PeftError("SHAPE_MISMATCH", `For a factored kernel, ${what}. Give what one layer saw of each example.`);
}
