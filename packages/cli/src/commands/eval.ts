import { evaluationPlan } from "@peftjs/bench";
import { readDataset } from "@peftjs/data";
import { evaluate } from "@peftjs/train";
import { Command } from "commander";
import { openAdapted } from "../adapted.ts";
import { listOfNames, openEngine, positiveInteger, withEngineOptions } from "../options/common.ts";
import type { EngineFlags } from "../options/common.ts";

interface EvalFlags extends EngineFlags {
  readonly model: string;
  readonly adapter?: string;
  readonly data: string;
  readonly labels?: readonly string[];
  readonly batchSize: number;
  readonly maxLength?: number;
  readonly json?: boolean;
}

/** `eval`: loss and metrics of a labelled file. */
export function evalCommand(): Command {
  const command = new Command("eval")
    .description("Score a model on labelled rows.")
    .requiredOption("--model <folder>", "base model, or a merged one")
    .option("--adapter <folder>", "adapter written by train, or by the Python library")
    .requiredOption("--data <file>", "labelled rows as .jsonl, .csv or .tsv")
    .option("--labels <names>", "labels in the order of the logits, where no file says them", listOfNames)
    .option("--batch-size <number>", "rows of a batch", positiveInteger, 32)
    .option("--max-length <number>", "longer texts are cut to this many tokens", positiveInteger)
    .option("--json", "print one JSON object");
  return withEngineOptions(command).action(score);
}

async function score(flags: EvalFlags): Promise<void> {
  const { text, model } = await openAdapted(flags);
  const { rows } = await readDataset(flags.data, { scheme: text.scheme });
  const { metrics } = await evaluate(model, await openEngine(flags), evaluationPlan(text, rows, flags.batchSize));
  const lines = Object.entries(metrics).map(([name, value]) => `${name} ${value.toFixed(4)}`);
  process.stdout.write(
    `${flags.json === true ? JSON.stringify({ rows: rows.length, ...metrics }) : lines.join("\n")}\n`,
  );
}
