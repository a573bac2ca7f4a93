import { join } from "node:path";
import { evaluationPlan, fineTune, openTextModel } from "@peftjs/bench";
import type { TextModel } from "@peftjs/bench";
import { PeftError, readJsonObject, saveAdapter } from "@peftjs/core";
import { readDataset } from "@peftjs/data";
import type { DataRow, LabelScheme } from "@peftjs/data";
import { resolveHead } from "@peftjs/models";
import { consoleLogger, evaluate } from "@peftjs/train";
import { Command } from "commander";
import { writeAdapterInfo } from "../adapterInfo.ts";
import { openEngine } from "../options/common.ts";
import { frozenOf } from "../options/frozen.ts";
import { checkOut, writeOut } from "../output.ts";
import { chosen, declareTrainOptions, resolveTrainOptions } from "./trainOptions.ts";
import type { TrainOptions } from "./trainOptions.ts";

/** `train`: fine-tunes a model folder on the user's rows and writes an adapter. `args` decide whose options exist. */
export function trainCommand(args: readonly string[]): Command {
  const choice = chosen(args);
  const command = new Command("train").description("Fine-tune a model on labelled rows and write an adapter.");
  return declareTrainOptions(command, choice).action((flags: Readonly<Record<string, unknown>>) =>
    train(resolveTrainOptions(flags, choice)),
  );
}

interface Rows {
  readonly scheme: LabelScheme;
  readonly train: readonly DataRow[];
  readonly dev: readonly DataRow[] | undefined;
}

async function train(options: TrainOptions): Promise<void> {
  checkOut(options.out, options.overwrite);
  const { scheme, train: rows, dev } = await readRows(options);
  const seed = options.training.seed ?? 42;
  const text = await openBase(options, scheme, seed);
  const engine = await openEngine({
    engine: options.engine,
    ...(options.threads === undefined ? {} : { threads: options.threads }),
  });
  const { model, result } = await fineTune({
    text,
    engine,
    method: options.adapterMethod,
    methodConfig: options.methodConfig,
    plugins: options.plugins,
    train: rows,
    dev,
    batchSize: options.batchSize,
    seed,
    training: {
      ...options.training,
      metricForBest:
        options.training.metricForBest ??
        (dev === undefined ? "loss" : scheme.kind === "regression" ? "pearson" : "accuracy"),
      outputDir: options.checkpoints ?? null,
      resume: options.resume,
    },
    loggers: [consoleLogger()],
  });
  const metrics =
    dev === undefined ? {} : (await evaluate(model, engine, evaluationPlan(text, dev, options.batchSize))).metrics;
  await writeOut(options.out, async (folder) => {
    await saveAdapter(model, { dir: folder });
    await writeAdapterInfo(folder, {
      method: options.method,
      kind: scheme.kind,
      labels: [...scheme.labels],
      maxLength: text.maxLength,
    });
  });
  printReports(options);
  const { trainable, total } = model.trainableReport();
  print(options, { steps: result.steps, loss: result.loss, trainable, total, labels: scheme.labels, metrics });
}

/** The labels are those named by the user, else the model's own where they cover the data's, else the data's. */
async function readRows(options: TrainOptions): Promise<Rows> {
  const given: LabelScheme | undefined =
    options.labels === undefined ? undefined : { kind: "classification", labels: options.labels };
  const kind = options.kind === undefined ? {} : { kind: options.kind };
  const train = await readDataset(options.data, given === undefined ? kind : { scheme: given });
  const scheme = given ?? (await modelLabels(options.model, train.scheme as LabelScheme));
  if (scheme.kind === "classification" && scheme.labels.length < 2) {
    throw new PeftError(
      "LABELS_TOO_FEW",
      `Every row of "${options.data}" has the label ${scheme.labels.join()}. Classification needs two labels at least: add rows, or name all labels with --labels.`,
    );
  }
  const dev = options.eval === undefined ? undefined : (await readDataset(options.eval, { scheme })).rows;
  return { scheme, train: train.rows, dev };
}

/** A model that was fine-tuned before has an order of its labels, and its data may lack some of them. */
async function modelLabels(folder: string, scheme: LabelScheme): Promise<LabelScheme> {
  const head = resolveHead(await readJsonObject(join(folder, "config.json")), {});
  const covers =
    head.kind === "sequenceClassification" &&
    scheme.kind === "classification" &&
    scheme.labels.every((label) => head.labels.includes(label));
  return covers ? { kind: "classification", labels: head.labels } : scheme;
}

async function openBase(options: TrainOptions, scheme: LabelScheme, seed: number): Promise<TextModel> {
  const { model, maxLength, newHead } = options;
  const frozen = frozenOf(options);
  try {
    return await openTextModel({ folder: model, scheme, maxLength, seed, newHead, frozen });
  } catch (error) {
    if (!(error instanceof PeftError) || error.code !== "LABEL_COUNT_MISMATCH") throw error;
    throw new PeftError(error.code, `${error.message} On the command line that is --new-head.`, { cause: error });
  }
}

/** Where the files are that plug-ins wrote about the run. */
function printReports({ plugins, checkpoints }: TrainOptions): void {
  const names = plugins.flatMap(({ plugin }) => (plugin.report === undefined ? [] : [plugin.name]));
  if (checkpoints === undefined || names.length === 0) return;
  process.stderr.write(`Reports of ${names.join(", ")}: ${join(checkpoints, "plugins")}\n`);
}

interface Summary {
  readonly steps: number;
  readonly loss: number | null;
  readonly trainable: number;
  readonly total: number;
  readonly labels: readonly string[];
  readonly metrics: Readonly<Record<string, number>>;
}

function print({ json, out, method }: TrainOptions, summary: Summary): void {
  const { steps, loss, trainable, total, labels, metrics } = summary;
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ out, method, steps, loss, trainableParameters: trainable, totalParameters: total, labels, metrics })}\n`,
    );
    return;
  }
  const scores = Object.entries(metrics).map(([name, value]) => `${name} ${value.toFixed(4)}`);
  const share = ((100 * trainable) / total).toFixed(2);
  process.stdout.write(
    `Adapter written to ${out}: ${steps} steps, ${trainable.toLocaleString("en-US")} trainable parameters (${share} %)${scores.length > 0 ? `, ${scores.join(", ")}` : ""}\n`,
  );
}
