import type { Command } from "commander";
import { listOfNames, positiveInteger, withEngineOptions } from "./common.ts";
import type { EngineFlags } from "./common.ts";
import { fieldFlags, optionOf } from "./fields.ts";
import { FrozenFields } from "./frozen.ts";
import type { FrozenFlags } from "./frozen.ts";

/** Flags of the commands that run a trained model on the rows of a file. */
export interface AdaptedFlags extends EngineFlags, FrozenFlags {
  readonly model: string;
  readonly adapter?: string;
  readonly data: string;
  readonly labels?: readonly string[];
  readonly batchSize: number;
  readonly maxLength?: number;
  readonly json?: boolean;
}

/** Adds them; `data` and `json` say what the command expects and prints. */
export function withAdaptedOptions(command: Command, help: { readonly data: string; readonly json: string }): Command {
  command
    .requiredOption("--model <folder>", "base model, or a merged one")
    .option("--adapter <folder>", "adapter written by train, or by the Python library")
    .requiredOption("--data <file>", help.data)
    .option("--labels <names>", "labels in the order of the logits, where no file says them", listOfNames)
    .option("--batch-size <number>", "rows of a batch", positiveInteger, 32)
    .option("--max-length <number>", "longer texts are cut to this many tokens", positiveInteger)
    .option("--json", help.json);
  // Nothing is multiplied backward here.
  for (const field of fieldFlags(FrozenFields.omit({ frozenBackward: true }))) command.addOption(optionOf(field));
  return withEngineOptions(command);
}
