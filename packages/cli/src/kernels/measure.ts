import { evaluationPlan } from "@peftjs/bench";
import type { TextModel } from "@peftjs/bench";
import { createGenerator } from "@peftjs/core";
import type { HostTensor, Named, PeftModel } from "@peftjs/core";
import { labelValue } from "@peftjs/data";
import type { DataRow } from "@peftjs/data";
import {
  compareKernels,
  empiricalKernel,
  fewShot,
  regressModel,
  spectrum,
  traceKernel,
} from "@peftjs/method-rocoft/analysis";
import type { EmpiricalKernel, KernelReport, LabelledExamples, MethodFigures } from "@peftjs/method-rocoft/analysis";
import { followKernel } from "./laziness.ts";
import type { ChosenMethod } from "./methods.ts";
import { attach, kernelOptions } from "./run.ts";
import type { Draw, KernelRun } from "./run.ts";

/** The draw of the test rows is the same for all seeds. */
const TEST_SEED = 42;

/** Runs all methods on all draws; the kernel of a draw's first method is what the draw's others are compared with. */
export async function measureKernels(run: KernelRun): Promise<KernelReport> {
  const { text, flags } = run;
  const draws = flags.seeds.map((seed) => drawOf(run, seed));
  const references: EmpiricalKernel[] = [];
  const methods: MethodFigures[] = [];
  for (const method of run.methods) {
    process.stderr.write(`${method.name}\n`);
    methods.push(await measureMethod(run, { method, draws, references }));
  }
  const { ridge, adjustForInit, solver, outputs, biases, head, c } = flags;
  const fit = solver === "logistic" ? { solver, c: c ?? "by cross-validation" } : { solver, ridge, adjustForInit };
  return {
    ...{ model: flags.model, data: flags.data, labels: text.scheme.labels, perClass: flags.perClass },
    testRows: draws[0]?.test.examples.length ?? 0,
    settings: { outputs, ...fit, biases, head, maxLength: text.maxLength },
    methods,
  };
}

/** Rows that are drawn with their seed, and the rows to predict: a file's, or the same number of those that are left. */
function drawOf({ text, rows, test, flags }: KernelRun, seed: number): Draw {
  const labels = rows.map(({ label = "" }) => labelValue(label, text.scheme) ?? -1);
  const chosen = fewShot(labels, { classes: text.scheme.labels.length, perClass: flags.perClass, seed });
  const taken = new Set(chosen);
  const left = test ?? rows.filter((_, row) => !taken.has(row));
  const order = [...createGenerator(TEST_SEED).permutation(left.length)].slice(0, flags.testRows);
  const trainRows = chosen.map((row) => rows[row] as DataRow);
  return {
    seed,
    trainRows,
    train: labelled(text, trainRows),
    test: labelled(
      text,
      order.map((row) => left[row] as DataRow),
    ),
  };
}

/** Every row as a batch of its own, in the order of the rows. */
function labelled(text: TextModel, rows: readonly DataRow[]): LabelledExamples {
  if (rows.length === 0) return { examples: [], labels: [] };
  const examples: Named<HostTensor>[] = [];
  const plan = evaluationPlan(text, rows, 1);
  for (let i = 0; i < plan.batches; i++) {
    const { batch, rows: places } = plan.batchAt(i);
    examples[places[0] as number] = batch;
  }
  return { examples, labels: Int32Array.from(examples, (batch) => batch["labels"]?.data[0] as number) };
}

interface MethodRun {
  readonly method: ChosenMethod;
  readonly draws: readonly Draw[];
  /** Kernels of the first method, a draw each: filled by it, read by the others. */
  readonly references: EmpiricalKernel[];
}

async function measureMethod(run: KernelRun, { method, draws, references }: MethodRun): Promise<MethodFigures> {
  const { laziness } = run.flags;
  const isReference = references.length === 0;
  const figures: MethodFigures["draws"][number][] = [];
  let first: EmpiricalKernel | null = null;
  for (const [at, draw] of draws.entries()) {
    const began = performance.now();
    const model = await attach(run, method, draw);
    const { kernel, accuracy } = await fit(run, model, draw);
    const seconds = (performance.now() - began) / 1000;
    first ??= kernel;
    if (isReference) references.push(kernel);
    const comparison = isReference ? null : compareKernels(kernel, references[at] as EmpiricalKernel);
    figures.push({ seed: draw.seed, accuracy, comparison, seconds });
  }
  const { subset } = first as EmpiricalKernel;
  const { normalised, effectiveRank } = spectrum(first as EmpiricalKernel);
  return {
    ...{ name: method.name, parameters: subset.size, draws: figures },
    ...{ eigenvalues: [...normalised], effectiveRank },
    traceKernel: rowsOf(first as EmpiricalKernel),
    laziness:
      laziness === undefined ? null : await followKernel(run, { method, draw: draws[0] as Draw, steps: laziness }),
  };
}

/** The kernel of the training examples, and the accuracy on the test examples where there are some. */
async function fit(
  run: KernelRun,
  model: PeftModel,
  { train, test }: Draw,
): Promise<{ readonly kernel: EmpiricalKernel; readonly accuracy: number | null }> {
  const { solver, c, ridge, adjustForInit } = run.flags;
  const options = kernelOptions(run);
  if (test.examples.length === 0)
    return { kernel: await empiricalKernel(model, { ...options, examples: train.examples }), accuracy: null };
  return regressModel(model, {
    ...{ ...options, train, test },
    solver: solver === "logistic" ? { kind: solver, c } : { kind: solver, ridge, adjustForInit },
  });
}

function rowsOf(kernel: EmpiricalKernel): number[][] {
  const { rows, columns, data } = traceKernel(kernel);
  return Array.from({ length: rows }, (_, i) => [...data.subarray(i * columns, (i + 1) * columns)]);
}
