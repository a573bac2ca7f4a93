import { PeftError } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";

export interface EngineFlags {
  readonly engine?: "onnx" | "eager";
  readonly threads?: number;
}

export function withEngineOptions(command: Command): Command {
  return command
    .addOption(new Option("--engine <name>", "how programs run (default: onnx)").choices(["onnx", "eager"]))
    .option("--threads <number>", "threads (default: all cores)", positiveInteger);
}

export function openEngine({ engine = "onnx", threads }: EngineFlags): Promise<Engine> {
  return createEngine({ kind: engine, ...(threads === undefined ? {} : { threads }) });
}

export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("Expected a whole number from 1.");
  return value;
}

export function listOfNames(text: string): string[] {
  return text
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}

/** Throws `OPTION_MISSING` for an option that neither the command line nor the configuration file gives. */
export function required<T>(value: T | undefined, flag: string, example: string): T {
  if (value !== undefined) return value;
  throw new PeftError(
    "OPTION_MISSING",
    `${flag} is missing. Example: ${flag} ${example}. It may also stand in the file given to --config.`,
  );
}
