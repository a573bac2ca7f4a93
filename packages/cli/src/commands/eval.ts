import { evaluationPlan } from "@peftjs/bench";
import { readDataset } from "@peftjs/data";
import { evaluate } from "@peftjs/train";
import { Command } from "commander";
import { openAdapted } from "../adapted.ts";
import { withAdaptedOptions } from "../options/adapted.ts";
import type { AdaptedFlags } from "../options/adapted.ts";
import { openEngine } from "../options/common.ts";
import { readFrozen } from "../options/frozen.ts";

/** `eval`: loss and metrics of a labelled file. */
export function evalCommand(): Command {
  const command = new Command("eval").description("Score a model on labelled rows.");
  const help = { data: "labelled rows as .jsonl, .csv or .tsv", json: "print one JSON object" };
  return withAdaptedOptions(command, help).action(score);
}

async function score(flags: AdaptedFlags): Promise<void> {
  const { text, model } = await openAdapted({ ...flags, frozen: readFrozen(flags) });
  const { rows } = await readDataset(flags.data, { scheme: text.scheme });
  const { metrics } = await evaluate(model, await openEngine(flags), evaluationPlan(text, rows, flags.batchSize));
  const lines = Object.entries(metrics).map(([name, value]) => `${name} ${value.toFixed(4)}`);
  process.stdout.write(
    `${flags.json === true ? JSON.stringify({ rows: rows.length, ...metrics }) : lines.join("\n")}\n`,
  );
}
