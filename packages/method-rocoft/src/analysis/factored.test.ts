import { createGenerator, matmul, matrix, PeftModel, transpose } from "@peftjs/core";
import type { HostMatrix } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { inputs as reluInputs, reluNet } from "../../test/reluNet.ts";
import { difference } from "./compare.ts";
import { biasKernel, embeddingKernel, gainKernel, sumKernels, weightKernel } from "./factored.ts";
import type { LayerExample, WeightSlices } from "./factored.ts";
import type { Kernel } from "./kernel.ts";
import { empiricalKernel } from "./kernelOfModel.ts";
import { all } from "./subsets.ts";

/**
 * logits = W₃·mean_t tanh(W₂·tanh(W₁·h_t + b₁) + b₂) + b₃, h = g∘x̂ + s, x̂ = (e − mean e)/√(var e + ε), e the rows of a table, in float64.
 */
const SHAPES = {
  table: [7, 6],
  gain: [1, 6],
  shift: [1, 6],
  first: [5, 6],
  firstBias: [1, 5],
  second: [4, 5],
  secondBias: [1, 4],
  head: [3, 4],
  headBias: [1, 3],
} as const;
type Name = keyof typeof SHAPES;
type Parameters = Readonly<Record<Name, HostMatrix>>;
const NAMES = Object.keys(SHAPES) as Name[];
const OUTPUTS = [0, 1, 2];
/** Of different lengths, with ids that occur twice in one and ids that two of them share. */
const EXAMPLES = [
  [1, 4, 1, 6, 2],
  [3, 4],
  [5, 5, 0, 1, 4, 3, 5],
];

const generator = createGenerator(7);
const parameters = Object.fromEntries(
  NAMES.map((name) => {
    const [rows, columns] = SHAPES[name];
    const values = generator.normal(rows * columns, name === "gain" ? 1 : 0, 0.7);
    return [name, matrix(Float64Array.from(values), [rows, columns])];
  }),
) as Parameters;

/** f of a matrix's entries, each with its row and column. */
function map(
  { data, rows, columns }: HostMatrix,
  f: (value: number, row: number, column: number) => number,
): HostMatrix {
  const values = Float64Array.from(data, (value, at) => f(value, Math.floor(at / columns), at % columns));
  return matrix(values, [rows, columns]);
}
const at = ({ data, columns }: HostMatrix, row: number, column: number): number => data[row * columns + column]!;
const times = (a: HostMatrix, b: HostMatrix): HostMatrix => map(a, (value, i, j) => value * at(b, i, j));
const constant = (value: number, shape: [number, number]): HostMatrix =>
  matrix(new Float64Array(shape[0] * shape[1]).fill(value), shape);
const oneHot = (ids: readonly number[], count: number): HostMatrix =>
  map(constant(0, [ids.length, count]), (_, t, id) => (ids[t] === id ? 1 : 0));
/** The mean of each row, [rows, 1]. */
const means = (a: HostMatrix): HostMatrix => matmul(a, constant(1 / a.columns, [a.columns, 1]));

function linear(x: HostMatrix, weight: HostMatrix, bias: HostMatrix): HostMatrix {
  return map(matmul(x, transpose(weight)), (value, _, j) => value + at(bias, 0, j));
}

function forward(p: Parameters, ids: readonly number[]) {
  const words = matmul(oneHot(ids, p.table.rows), p.table);
  const mean = means(words);
  const centred = map(words, (value, t) => value - at(mean, t, 0));
  const inverse = map(means(times(centred, centred)), (variance) => 1 / Math.sqrt(variance + 1e-5));
  const normalised = map(centred, (value, t) => value * at(inverse, t, 0));
  const normed = map(normalised, (value, _, j) => value * at(p.gain, 0, j) + at(p.shift, 0, j));
  const first = map(linear(normed, p.first, p.firstBias), Math.tanh);
  const second = map(linear(first, p.second, p.secondBias), Math.tanh);
  const pooled = matmul(constant(1 / ids.length, [1, ids.length]), second);
  return { inverse, normalised, normed, first, second, pooled, logits: linear(pooled, p.head, p.headBias) };
}

/** ∂f_a/∂ of what the table, the norm and the three linear layers give, each [T, out]; of the head [1, C]. */
function sensitivities(p: Parameters, ids: readonly number[], output: number) {
  const { inverse, normalised, first, second } = forward(p, ids);
  const throughTanh = (d: HostMatrix, y: HostMatrix): HostMatrix =>
    map(d, (value, i, j) => value * (1 - at(y, i, j) ** 2));
  const dHead = oneHot([output], p.head.rows);
  const dSecond = throughTanh(matmul(constant(1 / ids.length, [ids.length, 1]), matmul(dHead, p.head)), second);
  const dFirst = throughTanh(matmul(dSecond, p.second), first);
  const dNorm = matmul(dFirst, p.first);
  const scaled = map(dNorm, (value, _, j) => value * at(p.gain, 0, j));
  const [mean, along] = [means(scaled), means(times(scaled, normalised))];
  const dTable = map(
    scaled,
    (value, t, j) => at(inverse, t, 0) * (value - at(mean, t, 0) - at(normalised, t, j) * at(along, t, 0)),
  );
  return { table: dTable, norm: dNorm, first: dFirst, second: dSecond, head: dHead };
}

/** What each layer saw of an example. */
function traced(ids: readonly number[]) {
  const x = forward(parameters, ids);
  const d = OUTPUTS.map((output) => sensitivities(parameters, ids, output));
  const layer = (inputs: HostMatrix, name: keyof (typeof d)[number]): LayerExample => ({
    inputs,
    sensitivities: d.map((one) => one[name]),
  });
  return {
    table: { ids, sensitivities: d.map(({ table }) => table) },
    norm: layer(x.normalised, "norm"),
    first: layer(x.normed, "first"),
    second: layer(x.first, "second"),
    head: layer(x.pooled, "head"),
  };
}
const traces = EXAMPLES.map(traced);
const LINEAR = ["first", "second", "head"] as const;

/** The whole gradient of each logit of an example with respect to each parameter: what the factored form never builds. */
function gradients(ids: readonly number[]): Parameters[] {
  const { normalised, normed, first, pooled } = forward(parameters, ids);
  return OUTPUTS.map((output) => {
    const d = sensitivities(parameters, ids, output);
    const sum = (a: HostMatrix): HostMatrix => matmul(constant(1, [1, a.rows]), a);
    return {
      table: matmul(transpose(oneHot(ids, parameters.table.rows)), d.table),
      ...{ gain: sum(times(d.norm, normalised)), shift: sum(d.norm) },
      ...{ first: matmul(transpose(d.first), normed), firstBias: sum(d.first) },
      ...{ second: matmul(transpose(d.second), first), secondBias: sum(d.second) },
      ...{ head: matmul(transpose(d.head), pooled), headBias: sum(d.head) },
    };
  });
}
const jacobian = EXAMPLES.flatMap(gradients);

/** Σ of products of explicit gradients over the entries of some parameters that count, [N·C, N·C] row-major. */
function explicit(names: readonly Name[], counts: (row: number, column: number) => boolean = () => true): Float64Array {
  const vectors = jacobian.map((gradient) =>
    names.flatMap((name) => [...map(gradient[name], (value, i, j) => (counts(i, j) ? value : 0)).data]),
  );
  return Float64Array.from(
    vectors.flatMap((a) => vectors.map((b) => a.reduce((sum, value, k) => sum + value * b[k]!, 0))),
  );
}

const tolerance = 1e-12;
function expectSame(kernel: Kernel, expected: Float64Array): void {
  expect(kernel.shape).toEqual([3, 3, 3, 3]);
  expect(Math.hypot(...expected)).toBeGreaterThan(1e-3);
  expect(difference(kernel.data, expected, 1)).toBeLessThan(tolerance);
}

it("the sensitivities are those of the model: explicit gradients against central differences", () => {
  const h = 1e-5;
  const moved = (name: Name, place: number, by: number): Parameters => ({
    ...parameters,
    [name]: { ...parameters[name], data: parameters[name].data.map((value, k) => (k === place ? value + by : value)) },
  });
  EXAMPLES.forEach((ids, n) => {
    for (const name of NAMES)
      for (let place = 0; place < parameters[name].data.length; place++) {
        const [up, down] = [h, -h].map((by) => forward(moved(name, place, by), ids).logits.data);
        for (const a of OUTPUTS)
          expect(jacobian[n * 3 + a]![name].data[place]).toBeCloseTo((up![a]! - down![a]!) / (2 * h), 8);
      }
  });
});

describe("the factored form is the contraction of explicit gradients", () => {
  it.each(LINEAR)("weights of %s: all, rows, columns, both", (name) => {
    const layer = traces.map((trace) => trace[name]);
    const [rows, columns] = [
      [2, 0],
      [1, 3],
    ];
    expectSame(weightKernel(layer), explicit([name]));
    expectSame(
      weightKernel(layer, { rows }),
      explicit([name], (i) => rows.includes(i)),
    );
    expectSame(
      weightKernel(layer, { columns }),
      explicit([name], (_, j) => columns.includes(j)),
    );
    expectSame(
      weightKernel(layer, { rows, columns }),
      explicit([name], (i, j) => rows.includes(i) && columns.includes(j)),
    );
    // As the subsets do: a layer that has fewer counts those it has.
    expect(weightKernel(layer, { rows: [0, 2, 99] })).toEqual(weightKernel(layer, { rows }));
  });

  it("biases, gain, shift and table", () => {
    for (const name of LINEAR) expectSame(biasKernel(traces.map((trace) => trace[name])), explicit([`${name}Bias`]));
    const norm = traces.map((trace) => trace.norm);
    expectSame(gainKernel(norm), explicit(["gain"]));
    expectSame(biasKernel(norm), explicit(["shift"]));
    expectSame(embeddingKernel(traces.map(({ table }) => table)), explicit(["table"]));
  });

  it("the whole model, and a few rows or columns of each weight", () => {
    const norm = traces.map((trace) => trace.norm);
    const rest = [
      ...[embeddingKernel(traces.map(({ table }) => table)), gainKernel(norm), biasKernel(norm)],
      ...LINEAR.map((name) => biasKernel(traces.map((trace) => trace[name]))),
    ];
    const weights = (slices: WeightSlices): Kernel[] =>
      LINEAR.map((name) =>
        weightKernel(
          traces.map((trace) => trace[name]),
          slices,
        ),
      );
    expectSame(sumKernels([...rest, ...weights({})]), explicit(NAMES));
    expectSame(
      sumKernels(weights({ rows: [1] })),
      explicit(LINEAR, (i) => i === 1),
    );
    expectSame(
      sumKernels(weights({ columns: [0] })),
      explicit(LINEAR, (_, j) => j === 0),
    );
  });
});

it("rows add up to columns and to the whole weight", () => {
  const layer = traces.map(({ first }) => first);
  const whole = weightKernel(layer);
  expectSame(sumKernels([0, 1, 2, 3, 4].map((i) => weightKernel(layer, { rows: [i] }))), whole.data);
  expectSame(sumKernels([0, 1, 2, 3, 4, 5].map((j) => weightKernel(layer, { columns: [j] }))), whole.data);
});

it("other examples in the columns", () => {
  const [one, ...others] = traces;
  const ofAll = (whole: Kernel): Float64Array =>
    Float64Array.from([0, 1, 2].flatMap((row) => [...whole.data.subarray(row * 9 + 3, row * 9 + 9)]));
  const check = (cross: Kernel, whole: Kernel): void => {
    expect(cross.shape).toEqual([1, 3, 2, 3]);
    expect(difference(cross.data, ofAll(whole), 1)).toBeLessThan(tolerance);
  };
  const first = others.map((trace) => trace.first);
  const table = others.map((trace) => trace.table);
  check(weightKernel([one!.first], { others: first }), weightKernel(traces.map((trace) => trace.first)));
  check(biasKernel([one!.first], { others: first }), biasKernel(traces.map((trace) => trace.first)));
  check(embeddingKernel([one!.table], { others: table }), embeddingKernel(traces.map((trace) => trace.table)));
});

it("gives the kernel of a model whose gradients are taken by the engine", async () => {
  // The worked example, one token an example: inputs of both layers, and W₂'s rows where the ReLU lets them through.
  const x = [
    [1, 2],
    [2, 1],
    [1, 0],
  ];
  const hidden = [
    [0, 2, 2],
    [1, 4, 1],
    [1, 2, 0],
  ];
  const row = (values: readonly number[]): HostMatrix => matrix(Float64Array.from(values), [1, values.length]);
  const open = (values: readonly number[], n: number): HostMatrix =>
    row(values.map((v, i) => (hidden[n]![i]! > 0 ? v : 0)));
  const first = x.map((values, n) => ({
    inputs: row(values),
    sensitivities: [open([1, 1, 0], n), open([0, -1, 2], n)],
  }));
  const second = hidden.map((values) => ({ inputs: row(values), sensitivities: [row([1, 0]), row([0, 1])] }));
  const { shape, data } = await empiricalKernel(new PeftModel(reluNet()), { examples: [reluInputs], subset: all });
  expect(sumKernels([weightKernel(first), weightKernel(second)])).toEqual({ shape, data });
});

describe("what does not fit is refused", () => {
  const d = (rows: number, columns = 4): HostMatrix => constant(1, [rows, columns]);
  it.each<[string, () => Kernel, RegExp]>([
    ["no example", () => weightKernel([]), /needed, got none/u],
    [
      "other lengths",
      () => weightKernel([{ inputs: d(2), sensitivities: [d(3)] }]),
      /example 0 must be 2 × 4, got 3 × 4/u,
    ],
    ["other ids", () => embeddingKernel([{ ids: [1], sensitivities: [d(3)] }]), /must be 1 × 4, got 3 × 4/u],
    ["other widths", () => biasKernel([{ sensitivities: [d(2), d(2, 5)] }]), /must be 2 × 4, got 2 × 5/u],
    ["other outputs", () => biasKernel([{ sensitivities: [d(2)] }, { sensitivities: [d(2), d(2)] }]), /of 2 outputs/u],
    ["other inputs", () => gainKernel([{ inputs: d(2, 5), sensitivities: [d(2)] }]), /width of its output, 4, got 5/u],
    ["no kernel", () => sumKernels([]), /at least one kernel/u],
    [
      "other shapes",
      () => sumKernels([biasKernel([{ sensitivities: [d(2)] }]), weightKernel(traces.map((t) => t.head))]),
      /one shape/u,
    ],
  ])("%s", (_, kernel, message) => {
    expect(kernel).toThrow(
      expect.objectContaining({ code: "SHAPE_MISMATCH", message: expect.stringMatching(message) as string }),
    );
  });
});
