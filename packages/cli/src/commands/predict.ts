import { evaluationPlan } from "@peftjs/bench";
import { readDataset } from "@peftjs/data";
import { evaluate } from "@peftjs/train";
import { Command } from "commander";
import { openAdapted } from "../adapted.ts";
import { listOfNames, openEngine, positiveInteger, withEngineOptions } from "../options/common.ts";
import type { EngineFlags } from "../options/common.ts";

interface PredictFlags extends EngineFlags {
  readonly model: string;
  readonly adapter?: string;
  readonly data: string;
  readonly labels?: readonly string[];
  readonly batchSize: number;
  readonly maxLength?: number;
  readonly json?: boolean;
}

/** `predict`: one line per row of the file, in its order. */
export function predictCommand(): Command {
  const command = new Command("predict")
    .description("Predict the label of every row.")
    .requiredOption("--model <folder>", "base model, or a merged one")
    .option("--adapter <folder>", "adapter written by train, or by the Python library")
    .requiredOption("--data <file>", "texts as .jsonl, .csv or .tsv; labels are ignored")
    .option("--labels <names>", "labels in the order of the logits, where no file says them", listOfNames)
    .option("--batch-size <number>", "rows of a batch", positiveInteger, 32)
    .option("--max-length <number>", "longer texts are cut to this many tokens", positiveInteger)
    .option("--json", "print {label, logits} per row");
  return withEngineOptions(command).action(predict);
}

async function predict(flags: PredictFlags): Promise<void> {
  const { rows } = await readDataset(flags.data, { labels: "ignored" });
  const { text, model } = await openAdapted(flags);
  const { logits, predictions } = await evaluate(
    model,
    await openEngine(flags),
    evaluationPlan(text, rows, flags.batchSize),
  );
  const lines = predictions.map((prediction, row) => {
    const label = text.scheme.kind === "regression" ? prediction : text.scheme.labels[prediction];
    const scores = [...(logits[row] ?? [])];
    return flags.json === true
      ? JSON.stringify({ label, logits: scores })
      : `${label}\t${scores.map((score) => score.toFixed(4)).join("\t")}`;
  });
  process.stdout.write(`${lines.join("\n")}\n`);
}
