import { resolve } from "node:path";
import { PeftError } from "@peftjs/core";
import { listTasks } from "@peftjs/data";
import { FROZEN_TYPES } from "@peftjs/models";
import type { FrozenType } from "@peftjs/models";
import { Command, InvalidArgumentError, Option } from "commander";
import { runBench } from "./bench.ts";
import type { BenchProgress } from "./bench.ts";
import { bagOfWordsScores } from "./bagOfWords.ts";
import { presetNames, readExperiment, readMethodSettings } from "./experiment.ts";
import { registeredMethods } from "./methods.ts";
import { planRuns } from "./plan.ts";
import { registeredPlugins } from "./plugins.ts";
import { differenceTable, frozenPairs } from "./frozenPairs.ts";
import { CommandFailed } from "./program.ts";
import { plainTable, publishedTable, summaryTable } from "./report.ts";
import type { RunSpec } from "./results.ts";

interface BenchFlags {
  readonly preset: string;
  readonly methods?: readonly string[];
  readonly tasks?: readonly string[];
  readonly seeds?: readonly number[];
  readonly model?: string;
  readonly out?: string;
  readonly frozen?: FrozenType;
  readonly engine: RunSpec["engine"];
  readonly threads?: number;
  readonly timeout: number;
  readonly fresh?: boolean;
  readonly json?: boolean;
}

/** `bench`: compares methods on the embedded model and tasks. */
export function benchCommand(): Command {
  return new Command("bench")
    .description("Compare methods on the same base model, data and seeds.")
    .option("--preset <name>", `${presetNames.join(", ")}, or the path of a .yaml file`, "quick")
    .option(
      "--methods <names>",
      "only these methods, separated by commas, with plug-ins as in lora+ist; all: every method",
      names,
    )
    .option("--tasks <names>", "only these tasks, separated by commas", names)
    .option("--seeds <numbers>", "these seeds, separated by commas", numbers)
    .option("--model <folder>", "base model folder (default: the embedded one)")
    .addOption(
      new Option(
        "--frozen <type>",
        "how rows hold frozen weights that do not say it themselves, as lora+int8 does (default: float32)",
      ).choices(FROZEN_TYPES),
    )
    .option("--out <folder>", "where results.json, report.md and runs/ go (default: bench-results/<preset>)")
    .addOption(new Option("--engine <name>", "how programs run").choices(["onnx", "eager"]).default("onnx"))
    .option("--threads <number>", "threads of one run (default: all cores)", positiveInteger)
    .option("--timeout <minutes>", "a run that takes longer becomes an error row", Number, 30)
    .option("--fresh", "run again what a former call with the same --out has finished")
    .option("--json", "print the rows of results.json instead of the table")
    .action(bench);
}

async function bench(flags: BenchFlags): Promise<void> {
  const experiment = readExperiment(flags.preset);
  const published = experiment.published ?? undefined;
  const runs = planRuns({
    experiment,
    settings: readMethodSettings(),
    allMethods: registeredMethods()
      .list()
      .map((method) => method.name),
    allPlugins: registeredPlugins().map((plugin) => plugin.name),
    allTasks: listTasks().map((task) => task.name),
    methods: flags.methods,
    tasks: flags.tasks,
    seeds: flags.seeds,
    model: flags.model === undefined ? undefined : resolve(flags.model),
    frozen: flags.frozen,
    engine: flags.engine,
    threads: flags.threads,
  });
  const out = resolve(flags.out ?? `bench-results/${presetTitle(flags.preset)}`);
  const started = performance.now();
  const results = await withInterrupt((signal) =>
    runBench({
      out,
      runs,
      title: `PEFT.js comparison: ${presetTitle(flags.preset)}`,
      references: bagOfWordsScores(),
      published,
      fresh: flags.fresh === true,
      timeoutMilliseconds: flags.timeout * 60_000,
      signal,
      onRun: (progress) => process.stderr.write(progressLine(progress)),
    }),
  );
  const failed = results.filter((result) => result.status === "error").length;
  if (flags.json === true) process.stdout.write(`${JSON.stringify(results)}\n`);
  else {
    const tables = [summaryTable(results, bagOfWordsScores())];
    const pairs = frozenPairs(runs, results);
    if (pairs.length > 0) tables.push(differenceTable(pairs));
    if (published !== undefined) tables.push(publishedTable(results, published));
    process.stdout.write(`${tables.map(plainTable).join("\n\n")}\n`);
  }
  process.stderr.write(
    `${runs.length} runs, ${failed} failed, ${((performance.now() - started) / 1000).toFixed(0)} s. Report: ${out}/report.md\n`,
  );
  if (failed > 0 || results.length < runs.length) throw new CommandFailed();
}

/** Ctrl-C ends the current run; what is finished is on disk. */
async function withInterrupt<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = () => {
    controller.abort();
  };
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    return await work(controller.signal);
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

function progressLine({ number, of, spec, result, kept }: BenchProgress): string {
  const head = `[${number}/${of}] ${spec.method} · ${spec.task} · seed ${spec.seed}`;
  if (result === undefined) return `${head} …\n`;
  if (result.score === null) return `${head}: error: ${result.error?.split("\n")[0] ?? ""}\n`;
  return `${head}: ${result.metric} ${(100 * result.score).toFixed(1)} ${kept === true ? "(kept)" : `(${result.seconds.toFixed(0)} s)`}\n`;
}

function presetTitle(preset: string): string {
  return preset.replace(/^.*[\\/]/, "").replace(/\.\w+$/, "");
}

function names(text: string): string[] {
  return text
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}

function numbers(text: string): number[] {
  return names(text).map((part) => {
    const value = Number(part);
    if (!Number.isSafeInteger(value) || value < 0)
      throw new PeftError("USAGE", `--seeds takes whole numbers from 0, separated by commas; got "${part}".`);
    return value;
  });
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("Expected a whole number from 1.");
  return value;
}
