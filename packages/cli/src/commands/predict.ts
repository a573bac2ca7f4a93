import { evaluationPlan } from "@peftjs/bench";
import { readDataset } from "@peftjs/data";
import { evaluate } from "@peftjs/train";
import { Command } from "commander";
import { openAdapted } from "../adapted.ts";
import { withAdaptedOptions } from "../options/adapted.ts";
import type { AdaptedFlags } from "../options/adapted.ts";
import { openEngine } from "../options/common.ts";
import { readFrozen } from "../options/frozen.ts";

/** `predict`: one line per row of the file, in its order. */
export function predictCommand(): Command {
  const command = new Command("predict").description("Predict the label of every row.");
  const help = { data: "texts as .jsonl, .csv or .tsv; labels are ignored", json: "print {label, logits} per row" };
  return withAdaptedOptions(command, help).action(predict);
}

async function predict(flags: AdaptedFlags): Promise<void> {
  const { rows } = await readDataset(flags.data, { labels: "ignored" });
  const { text, model } = await openAdapted({ ...flags, frozen: readFrozen(flags) });
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
