import { printError, runProgram } from "@peftjs/bench";
import { createProgram } from "./program.ts";

/** Runs the command line; `args` are those after the script. Resolves to the exit code: 0 done, 1 failed, 2 wrong input. */
export async function main(args: readonly string[]): Promise<number> {
  let program;
  try {
    program = createProgram(args);
  } catch (error) {
    return printError(error);
  }
  return runProgram(program, args);
}
