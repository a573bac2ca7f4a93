import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { run } from "./run.ts";
import { workspace } from "./workspace.ts";

const at = workspace();

const kernels = (out: string, ...args: readonly string[]): ReturnType<typeof run> =>
  run(
    ...["kernels", "--model", at("model"), "--data", at("train.jsonl"), "--out", at(out), "--threads", "1"],
    ...["--per-class", "4", "--seeds", "1,2", "--test-rows", "12"],
    ...args,
  );

interface Figures {
  readonly testRows: number;
  readonly methods: readonly {
    readonly name: string;
    readonly parameters: number;
    readonly draws: readonly {
      readonly seed: number;
      readonly accuracy: number | null;
      readonly comparison: { readonly alignment: number; readonly relativeDifference: number } | null;
    }[];
    readonly eigenvalues: readonly number[];
    readonly traceKernel: readonly (readonly number[])[];
    readonly laziness: readonly { readonly step: number; readonly change: number }[] | null;
  }[];
}

const reportIn = (out: string): Figures => JSON.parse(readFileSync(join(at(out), "kernels.json"), "utf8")) as Figures;

describe("kernels", () => {
  it("compares methods and predicts with their kernels", async () => {
    const methods = "full,rocoft:rank=100:bias=none,rocoft:mode=column:rank=2,lora:rank=2:targetModules=query";
    const { code, stdout, stderr } = await kernels("kernels", "--methods", methods);
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^method +parameters +accuracy, %/mu);
    expect(stdout).toMatch(/kernels\.html$/mu);
    const report = reportIn("kernels");
    expect(report.testRows).toBe(12);
    expect(report.methods.map(({ name }) => name)).toEqual(methods.split(","));
    const [full, everyRow, columns, lora] = report.methods;
    // Two blocks of 16 × 16 and 16 × 32 weights: all rows are all weights, two columns are two of each width; biases do not count.
    expect(everyRow?.parameters).toBe(2 * (4 * 16 * 16 + 2 * 16 * 32));
    expect(columns?.parameters).toBe(2 * 2 * (4 * 16 + 32 + 16));
    expect(lora?.parameters).toBe(2 * (16 + 16) * 2);
    expect(full?.draws.map(({ comparison }) => comparison)).toEqual([null, null]);
    for (const { draws, eigenvalues, traceKernel } of report.methods) {
      expect(draws.map(({ seed }) => seed)).toEqual([1, 2]);
      // "good" and "bad" are told apart by any kernel.
      for (const { accuracy } of draws) expect(accuracy).toBeGreaterThan(0.7);
      expect(eigenvalues).toHaveLength(16);
      expect(eigenvalues.reduce((sum, value) => sum + value)).toBeCloseTo(1, 9);
      expect(traceKernel.map((row) => row.length)).toEqual(Array.from({ length: 8 }, () => 8));
    }
    const alignment = (of: typeof full): number => of?.draws[0]?.comparison?.alignment ?? NaN;
    expect(alignment(everyRow)).toBeGreaterThan(0.5);
    const page = readFileSync(join(at("kernels"), "kernels.html"), "utf8");
    expect(page.match(/<svg class="map"/gu)).toHaveLength(4);
    expect(page.match(/<polyline/gu)).toHaveLength(4);
    expect(page).not.toMatch(/<script|https?:|NaN/u);
  });

  it("compares on a base in eight bits", async () => {
    const args = ["--methods", "rocoft:rank=1,lora:rank=2", "--test-rows", "0", "--seeds", "1"];
    for (const [out, ...frozen] of [["wide"], ["eight", "--frozen", "int8"]] as const) {
      const { code, stderr } = await kernels(out, ...args, ...frozen);
      expect(code, stderr).toBe(0);
    }
    const traces = (out: string): number[] => reportIn(out).methods.flatMap(({ traceKernel }) => traceKernel.flat());
    const [wide, eight] = [traces("wide"), traces("eight")];
    const largest = Math.max(...wide.map(Math.abs));
    expect(eight).not.toEqual(wide);
    // Gradients are a few per cent off, and a kernel is a product of two.
    eight.forEach((value, i) => expect(Math.abs(value - wide[i]!)).toBeLessThan(0.1 * largest));
  });

  it("follows a kernel while its method learns", async () => {
    const args = ["--methods", "rocoft:rank=1", "--laziness", "6", "--test-rows", "0", "--seeds", "1"];
    const { code, stderr } = await kernels("lazy", ...args);
    expect(code, stderr).toBe(0);
    const laziness = reportIn("lazy").methods[0]?.laziness;
    expect(laziness?.map(({ step }) => step)).toEqual([2, 4, 6]);
    expect(laziness?.every(({ change }) => change > 0)).toBe(true);
  });

  it("only compares without test rows, and counts what it is told to", async () => {
    const args = ["--methods", "head,bitfit", "--head", "--test-rows", "0", "--json", "--outputs", "binary"];
    const { code, stdout, stderr } = await kernels("compared", ...args);
    expect(code, stderr).toBe(0);
    const printed = JSON.parse(stdout) as Figures;
    const { methods } = reportIn("compared");
    expect(printed.methods.map(({ draws }) => draws)).toEqual(methods.map(({ draws }) => draws));
    expect(methods.flatMap(({ draws }) => draws.map(({ accuracy }) => accuracy))).toEqual([null, null, null, null]);
    expect(methods[0]?.eigenvalues).toHaveLength(8);
  });

  it("fits by logistic regression, on rows of a file of their own", async () => {
    const args = [
      "--methods",
      "bitfit",
      "--solver",
      "logistic",
      "--c",
      "1e4",
      "--outputs",
      "binary",
      "--test",
      at("dev.jsonl"),
      "--seeds",
      "3",
    ];
    const { code, stderr } = await kernels("logistic", ...args);
    expect(code, stderr).toBe(0);
    expect(reportIn("logistic").methods[0]?.draws[0]?.accuracy).toBeGreaterThan(0.7);
  });

  it.each<[string, string, RegExp, () => readonly string[]]>([
    ["an unknown method", "METHOD_UNKNOWN", /Did you mean "lora"/u, () => ["--methods", "lroa"]],
    ["no method", "USAGE", /at least one/u, () => ["--methods", ","]],
    ["an unknown setting", "CONFIG_INVALID", /rnak/u, () => ["--methods", "lora:rnak=3"]],
    ["too many a class", "LABELS_TOO_FEW", /24 examples, but 30/u, () => ["--per-class", "30"]],
    ["values for labels", "LABELS_NOT_CLASSES", /class names/u, () => ["--data", at("values.csv")]],
    ["a solver that there is not", "USAGE", /leastSquares/u, () => ["--solver", "magic"]],
  ])("%s", async (_, code, message, args) => {
    const outcome = await kernels("none", ...args());
    expect(outcome.stderr).toMatch(new RegExp(`^error \\[${code}\\] `, "mu"));
    expect(outcome.stderr).toMatch(message);
    expect(outcome.code).toBe(2);
  });
});
