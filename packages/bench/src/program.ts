import { PeftError } from "@peftjs/core";
import { CommanderError } from "commander";
import type { Command } from "commander";

/** Exit codes of every command: done, failed, wrong input. */
export const exitCode = { ok: 0, failed: 1, badInput: 2 } as const;

/** Thrown by a command that has said itself what failed. */
export class CommandFailed extends Error {
  override readonly name = "CommandFailed";
}

/**
 * Parses `args` (without node and script), runs the command and says what went wrong on stderr: `error [CODE] message`.
 * Resolves to the exit code and never throws.
 */
export async function runProgram(program: Command, args: readonly string[]): Promise<number> {
  prepare(program);
  try {
    await program.parseAsync([...args], { from: "user" });
    return exitCode.ok;
  } catch (error) {
    if (error instanceof CommandFailed) return exitCode.failed;
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.ok : exitCode.badInput;
    return printError(error);
  }
}

/** `error [CODE] message` without a stack for errors a user can act on. */
export function printError(error: unknown): number {
  if (error instanceof PeftError) {
    process.stderr.write(`error [${error.code}] ${error.message}\n`);
    return exitCode.badInput;
  }
  process.stderr.write(
    `error [UNEXPECTED] ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  return exitCode.failed;
}

/** Commander's own complaints (unknown option, missing argument) take the same form; its suggestions are kept. */
function prepare(command: Command): void {
  command.exitOverride().showSuggestionAfterError(true).allowExcessArguments(false);
  command.configureOutput({
    outputError: (text, write) => {
      write(`error [USAGE] ${text.replace(/^error: /, "").trim()} See --help.\n`);
    },
  });
  for (const child of command.commands) prepare(child);
}
