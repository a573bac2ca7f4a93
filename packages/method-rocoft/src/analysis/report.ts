import { matrix } from "@peftjs/core";
import type { KernelComparison } from "./compare.ts";
import { escapeHtml, heatMap, htmlPage, htmlTable, logChart } from "./picture.ts";
import { meanAndDeviation } from "./regression.ts";

/** Figures of one method on one draw of the training examples. */
export interface DrawFigures {
  readonly seed: number;
  /** Of kernel regression on the test examples; null without them. */
  readonly accuracy: number | null;
  /** With the kernel of the first method on the same examples; null for that one. */
  readonly comparison: KernelComparison | null;
  readonly seconds: number;
}

/** How far the kernel has moved from where training began: ‖K_t − K₀‖_F / ‖K₀‖_F. */
export interface LazinessFigure {
  readonly step: number;
  readonly change: number;
}

export interface MethodFigures {
  /** As it was asked for, e.g. `rocoft:mode=column:rank=1`. */
  readonly name: string;
  /** Number of parameters that the kernel sums over. */
  readonly parameters: number;
  readonly draws: readonly DrawFigures[];
  /** Of the kernel of the first draw's training examples: descending, divided by their sum. */
  readonly eigenvalues: readonly number[];
  /** exp of the entropy of these shares. */
  readonly effectiveRank: number;
  /** The same kernel, summed over equal outputs: [n][n], classes one after the other. */
  readonly traceKernel: readonly (readonly number[])[];
  readonly laziness: readonly LazinessFigure[] | null;
}

/** What `kernels.json` holds; the picture is made from it alone. */
export interface KernelReport {
  readonly model: string;
  readonly data: string;
  readonly labels: readonly string[];
  readonly perClass: number;
  readonly testRows: number;
  /** Settings that all methods share, for the reader. */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly methods: readonly MethodFigures[];
}

/** The figures as rows of cells, the first being the heading: means over draws, and the deviation of the accuracy. */
export function kernelTable({ methods }: KernelReport): string[][] {
  const reference = methods[0]?.name ?? "";
  const heading = [
    ...["method", "parameters", "accuracy, %", `alignment with ${reference}`, "CKA", "rel. difference"],
    ...["trace-normalised", "best scale", "effective rank", "seconds"],
  ];
  const rows = methods.map(({ name, parameters, draws, effectiveRank }) => {
    const mean = (value: (comparison: KernelComparison) => number, digits: number): string => {
      const values = draws.flatMap(({ comparison }) => (comparison === null ? [] : [value(comparison)]));
      return values.length === 0 ? "–" : meanAndDeviation(values).mean.toFixed(digits);
    };
    return [
      ...[name, parameters.toLocaleString("en-US"), accuracyCell(draws)],
      ...[mean((c) => c.alignment, 4), mean((c) => c.cka, 4), mean((c) => c.relativeDifference, 3)],
      ...[mean((c) => c.traceNormalisedDifference, 3), mean((c) => c.bestScale, 2), effectiveRank.toFixed(1)],
      meanAndDeviation(draws.map(({ seconds }) => seconds)).mean.toFixed(1),
    ];
  });
  return [heading, ...rows];
}

/** `71.3 ± 0.4`, in percent. */
function accuracyCell(draws: readonly DrawFigures[]): string {
  const scores = draws.flatMap(({ accuracy }) => (accuracy === null ? [] : [100 * accuracy]));
  if (scores.length === 0) return "–";
  const { mean, deviation } = meanAndDeviation(scores);
  return deviation === null ? mean.toFixed(1) : `${mean.toFixed(1)} ± ${deviation.toFixed(1)}`;
}

const COLUMNS =
  "Parameters: how many the kernel sums over. Accuracy: of kernel regression on the test examples, mean ± standard deviation over draws. " +
  "The next five compare the kernel K_S with the first method's, K, on the training examples, and are means over draws: " +
  "alignment ⟨K_S, K⟩/(‖K_S‖·‖K‖), and CKA, the same of the centred kernels, are 1 for kernels that differ by a factor alone; " +
  "the relative difference is ‖K_S − K‖/‖K‖, the trace-normalised one that of K_S/tr K_S and K/tr K; " +
  "the best scale is the c for which c·K_S comes closest to K. " +
  "Effective rank: exp of the entropy of the first draw's eigenvalues, from 1 to their number.";

/** The report as a page: table, heat maps, spectra, laziness. It needs no other file. */
export function kernelPage(report: KernelReport): string {
  const { model, data, labels, perClass, testRows, settings, methods } = report;
  const maps = methods.map(({ name, traceKernel }) => {
    const n = traceKernel.length;
    const map = heatMap(matrix(Float64Array.from(traceKernel.flat()), [n, n]), `kernel of ${name}`);
    return `<figure>${map}<figcaption>${escapeHtml(name)}</figcaption></figure>`;
  });
  const spectra = logChart(
    methods.map(({ name, eigenvalues }) => ({ name, values: eigenvalues })),
    { x: "number of the eigenvalue", y: "share of the trace" },
  );
  const shared = Object.entries(settings).map(([name, value]) => `${name} ${String(value)}`);
  const draws = methods[0]?.draws.map(({ seed }) => seed).join(", ") ?? "";
  const facts = `${perClass} examples of each of ${labels.length} classes (${labels.join(", ")}), drawn with the seeds ${draws}; ${testRows} test examples. ${shared.join(", ")}.`;
  return htmlPage(
    "Tangent kernels",
    [
      `<p>${escapeHtml(model)} on ${escapeHtml(data)}: ${escapeHtml(facts)}</p>`,
      htmlTable(kernelTable(report)),
      `<p>${COLUMNS}</p>`,
      "<h2>Kernels</h2><p>First draw, summed over equal outputs, classes one after the other. White is zero, red positive, blue negative; colours go with the square root, up to the kernel's largest entry.</p>",
      maps.join("\n"),
      `<h2>Spectra</h2><p>Eigenvalues of the first draw's kernel, as shares of its trace.</p>${spectra}`,
      ...lazinessSection(methods),
    ].join("\n"),
  );
}

function lazinessSection(methods: readonly MethodFigures[]): string[] {
  const steps = [...new Set(methods.flatMap(({ laziness }) => (laziness ?? []).map(({ step }) => step)))];
  if (steps.length === 0) return [];
  const rows = methods.map(({ name, laziness }) => [
    name,
    ...steps.map((step) => laziness?.find((figure) => figure.step === step)?.change.toPrecision(3) ?? "–"),
  ]);
  const heading = ["method", ...steps.map((step) => `step ${step}`)];
  return [
    "<h2>Laziness</h2><p>‖K_t − K₀‖ / ‖K₀‖ on the first draw's training examples after t steps on them; after each of these columns the optimizer starts anew.</p>",
    htmlTable([heading, ...rows]),
  ];
}
