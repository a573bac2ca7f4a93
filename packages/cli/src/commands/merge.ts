import { savePretrained, saveTokenizer } from "@peftjs/models";
import { Command, Option } from "commander";
import { openAdapted } from "../adapted.ts";
import { listOfNames } from "../options/common.ts";
import { checkOut, writeOut } from "../output.ts";

interface MergeFlags {
  readonly model: string;
  readonly adapter: string;
  readonly out: string;
  readonly labels?: readonly string[];
  readonly dtype: "float32" | "float16" | "bfloat16";
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

/** `merge`: a model folder with the adapter inside, for programs that know nothing of adapters. */
export function mergeCommand(): Command {
  return new Command("merge")
    .description(
      "Write a model folder with the adapter merged into the weights, which are float32 here whatever a run with --frozen held them in.",
    )
    .requiredOption("--model <folder>", "base model")
    .requiredOption("--adapter <folder>", "adapter written by train, or by the Python library")
    .requiredOption("--out <folder>", "where the model goes")
    .option("--labels <names>", "labels in the order of the logits, where no file says them", listOfNames)
    .addOption(
      new Option("--dtype <type>", "type of the weights in the file")
        .choices(["float32", "float16", "bfloat16"])
        .default("float32"),
    )
    .option("--overwrite", "replace what --out holds")
    .option("--json", "print one JSON object")
    .action(merge);
}

async function merge(flags: MergeFlags): Promise<void> {
  checkOut(flags.out, flags.overwrite === true);
  // Weights are float32 here, whatever the run held them in: their sum with the change is rounded, not they before it.
  const { text, model } = await openAdapted(flags);
  const merged = model.mergeAndUnload({ safe: true });
  await writeOut(flags.out, async (folder) => {
    await savePretrained(merged, folder, { dtype: flags.dtype });
    await saveTokenizer(text.tokenizer, folder);
  });
  const summary = { out: flags.out, labels: text.scheme.labels, dtype: flags.dtype };
  process.stdout.write(`${flags.json === true ? JSON.stringify(summary) : `Merged model written to ${flags.out}`}\n`);
}
