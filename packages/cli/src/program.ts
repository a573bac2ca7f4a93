import { benchCommand } from "@peftjs/bench";
import { Command } from "commander";
import { convertCommand } from "./commands/convert.ts";
import { evalCommand } from "./commands/eval.ts";
import { kernelsCommand } from "./commands/kernels.ts";
import { mergeCommand } from "./commands/merge.ts";
import { methodsCommand } from "./commands/methods.ts";
import { predictCommand } from "./commands/predict.ts";
import { trainCommand } from "./commands/train.ts";
import { version } from "./version.ts";

/** The whole command line. The options of `train` depend on the method that `args` name. */
export function createProgram(args: readonly string[]): Command {
  const program = new Command("peftjs").description("Parameter-efficient fine-tuning in TypeScript.").version(version);
  const commands = [
    trainCommand(args[0] === "train" ? args : []),
    evalCommand(),
    predictCommand(),
    mergeCommand(),
    convertCommand(),
    methodsCommand(),
    kernelsCommand(),
    benchCommand(),
  ];
  for (const command of commands) program.addCommand(command);
  return program;
}
