import { join } from "node:path";
import { openTextModel, plainTable } from "@peftjs/bench";
import type { TextModel } from "@peftjs/bench";
import { PeftError, writeFileAtomic } from "@peftjs/core";
import { readDataset } from "@peftjs/data";
import type { DataRow, LabelScheme } from "@peftjs/data";
import { kernelPage, kernelTable } from "@peftjs/method-rocoft/analysis";
import type { KernelReport } from "@peftjs/method-rocoft/analysis";
import { Command, InvalidArgumentError, Option } from "commander";
import { measureKernels } from "../kernels/measure.ts";
import { chosenMethods } from "../kernels/methods.ts";
import { listOfNames, openEngine, positiveInteger, withEngineOptions } from "../options/common.ts";
import type { EngineFlags } from "../options/common.ts";
import { fieldFlags, optionOf } from "../options/fields.ts";
import { FrozenFields, readFrozen } from "../options/frozen.ts";
import type { FrozenFlags } from "../options/frozen.ts";
import { checkOut, writeOut } from "../output.ts";

export interface KernelFlags extends EngineFlags, FrozenFlags {
  readonly model: string;
  readonly data: string;
  readonly out: string;
  readonly methods: string;
  readonly test?: string;
  readonly labels?: readonly string[];
  readonly perClass: number;
  readonly seeds: readonly number[];
  readonly testRows: number;
  readonly outputs: "logits" | "binary";
  readonly solver: "leastSquares" | "logistic";
  readonly ridge: number;
  readonly c?: number;
  readonly adjustForInit: boolean;
  readonly biases: boolean;
  readonly head: boolean;
  readonly laziness?: number;
  readonly learningRate: number;
  readonly parameterBlock?: number;
  readonly exampleBlock?: number;
  readonly maxLength?: number;
  readonly overwrite: boolean;
  readonly json: boolean;
}

/** `kernels`: compares the tangent kernels of methods, and what kernel regression makes of a few examples with each. */
export function kernelsCommand(): Command {
  const command = new Command("kernels")
    .description("Compare methods by their tangent kernels on a few examples; writes kernels.json and kernels.html.")
    .requiredOption("--model <folder>", "base model")
    .requiredOption("--data <file>", "labelled rows as .jsonl, .csv or .tsv, from which the examples are drawn")
    .requiredOption("--out <folder>", "folder for the two files")
    .option(
      "--methods <list>",
      "methods, settings after colons: full,lora:rank=4,rocoft:mode=column; the first is what others are compared with",
      "full,lora,rocoft:rank=1,rocoft:rank=1:mode=column",
    )
    .option("--test <file>", "rows to predict (default: those of --data that are not drawn)")
    .option("--test-rows <number>", "how many of them, drawn with seed 42; 0: only compare", wholeNumber, 100)
    .option("--labels <names>", "labels in the order of the logits (default: those of the data)", listOfNames)
    .option("--per-class <number>", "examples of each label", positiveInteger, 16)
    .option("--seeds <list>", "seeds, each of which draws examples of its own", listOfSeeds, [13, 21, 42, 87, 100])
    .addOption(
      new Option("--outputs <name>", "logits, or the difference of two")
        .choices(["logits", "binary"])
        .default("logits"),
    )
    .addOption(
      new Option("--solver <name>", "of the regression").choices(["leastSquares", "logistic"]).default("leastSquares"),
    )
    .option("--ridge <share>", "least squares: added to the diagonal, as a share of the largest eigenvalue", share, 0)
    .option("--adjust-for-init", "least squares: start from the model's own outputs", false)
    .option("--c <number>", "logistic: weight of the data (default: by cross-validation)", share)
    .option("--biases", "count biases that a method trains beside its own parameters", false)
    .option("--head", "count the task head", false)
    .option(
      "--laziness <steps>",
      "also train on the first draw for so many steps, and follow the kernel",
      positiveInteger,
    )
    .option("--learning-rate <number>", "of that training", share, 1e-3)
    .option(
      "--parameter-block <number>",
      "values of each gradient that are held at once (default: 512 MB of all)",
      positiveInteger,
    )
    .option("--example-block <number>", "examples whose gradients are held at once (default: all)", positiveInteger)
    .option("--max-length <number>", "longer texts are cut to this many tokens", positiveInteger)
    .option("--overwrite", "replace what --out holds", false)
    .option("--json", "print the figures as one JSON object", false);
  for (const field of fieldFlags(FrozenFields)) command.addOption(optionOf(field));
  return withEngineOptions(command).action(kernels);
}

async function kernels(flags: KernelFlags): Promise<void> {
  checkOut(flags.out, flags.overwrite);
  const methods = chosenMethods(flags.methods);
  const { rows, scheme } = await labelledRows(flags);
  const test = flags.test === undefined ? null : (await readDataset(flags.test, { scheme })).rows;
  const text: TextModel = await openTextModel({
    ...{ folder: flags.model, scheme, maxLength: flags.maxLength, newHead: true, frozen: readFrozen(flags) },
  });
  const report = await measureKernels({ text, rows, test, flags, methods, engine: await openEngine(flags) });
  await writeOut(flags.out, async (folder) => {
    await writeFileAtomic(join(folder, "kernels.json"), `${JSON.stringify(report)}\n`);
    await writeFileAtomic(join(folder, "kernels.html"), kernelPage(report));
  });
  const table = (): string =>
    `${plainTable(kernelTable(report))}\nKernels, spectra and what the columns mean: ${join(flags.out, "kernels.html")}`;
  process.stdout.write(`${flags.json ? JSON.stringify(figuresOf(report)) : table()}\n`);
}

async function labelledRows({ data, labels }: KernelFlags): Promise<{
  readonly rows: readonly DataRow[];
  readonly scheme: LabelScheme;
}> {
  const given = labels === undefined ? {} : { scheme: { kind: "classification", labels } as const };
  const { rows, scheme } = await readDataset(data, given);
  if (scheme?.kind === "classification") return { rows, scheme };
  throw new PeftError(
    "LABELS_NOT_CLASSES",
    `The labels of ${data} are values, and kernel regression here predicts classes. Give rows with class names, or name the classes with --labels.`,
  );
}

/** The report without what is only drawn. */
function figuresOf(report: KernelReport): object {
  const methods = report.methods.map(({ traceKernel: _, eigenvalues: __, ...figures }) => figures);
  return { ...report, methods };
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError("Expected a whole number from 0.");
  return value;
}

function share(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError("Expected a number from 0.");
  return value;
}

function listOfSeeds(text: string): number[] {
  const seeds = listOfNames(text).map(wholeNumber);
  if (seeds.length === 0) throw new InvalidArgumentError("Expected whole numbers separated by commas.");
  return seeds;
}
