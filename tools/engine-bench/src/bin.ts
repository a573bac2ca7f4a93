import { resolve } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import type { Case } from "./cases.ts";
import { CASES, casesNamed, frozenAs, LARGE_CASES } from "./cases.ts";
import type { FrozenName } from "./frozen.ts";
import { FROZEN_NAMES } from "./frozen.ts";
import type { Measured } from "./measure.ts";
import { measure } from "./measure.ts";
import { formatReport, writeResults } from "./report.ts";
import { soak } from "./soak.ts";

interface Flags {
  readonly cases: readonly Case[];
  readonly steps: number;
  readonly threads: number;
  readonly json?: string;
  readonly recompute: "none" | "blocks";
  readonly frozen: readonly FrozenName[];
  readonly soak?: number;
  readonly together?: boolean;
}

const program = new Command("nx run engine:bench --")
  .description(
    "Times one training step per case. With PEFTJS_PYTHON naming an interpreter that has torch, transformers and peft, step by step in turn with the same step there.",
  )
  .option(
    "--cases <names>",
    `comma-separated names; default: all but ${LARGE_CASES.map(({ name }) => name).join(", ")}`,
    chosen,
    CASES,
  )
  .option("--steps <n>", "counted steps per case, after 2 that warm up", count, 15)
  .option("--threads <n>", "threads of each program", count, 2)
  .option("--json <file>", "write the results there as well")
  .addOption(
    new Option("--recompute <what>", "what the backward pass computes anew")
      .choices(["none", "blocks"])
      .default("none"),
  )
  .addOption(
    new Option(
      "--frozen <how>",
      `each case also with its frozen weights held so, in turn with itself, comma-separated: ${FROZEN_NAMES.join(", ")}`,
    )
      .argParser(frozenNames)
      .default([], "float32 alone"),
  )
  .option("--together", "instead: the cases' own steps in turn, compared with the first one")
  .option("--soak <n>", "instead: run n steps of each case and print what memory they hold on the way", count);
await program.parseAsync();
const { cases, steps, threads, json, recompute, frozen, soak: soakSteps, together = false }: Flags = program.opts();
const sides = cases.map((task) => [
  task,
  ...(task.frozen === undefined ? frozen.map((name) => frozenAs(task, name)) : []),
]);
try {
  if (soakSteps === undefined) await bench();
  else for (const task of sides.flat()) await soak({ task, threads, recompute }, soakSteps);
} catch (error) {
  program.error(error instanceof Error ? error.message : String(error));
}

async function bench(): Promise<void> {
  const python = together ? undefined : process.env["PEFTJS_PYTHON"];
  const runs = together ? [sides.flat()] : sides;
  const measured: Measured[] = [];
  for (const [i, tasks] of runs.entries()) {
    console.error(`${i + 1}/${runs.length} ${tasks.map(({ name }) => name).join(", ")} …`);
    measured.push(...(await measure({ tasks, threads, recompute, steps, python })));
  }
  console.log(formatReport(measured, threads));
  if (json === undefined) return;
  writeResults(
    json,
    measured.map(({ result }) => result),
  );
  console.log(`Written to ${resolve(json)}`);
}

function chosen(names: string): readonly Case[] {
  try {
    return casesNamed(names.split(","));
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

function frozenNames(text: string): readonly FrozenName[] {
  return text.split(",").map((name) => {
    const found = FROZEN_NAMES.find((one) => one === name);
    if (found !== undefined) return found;
    throw new InvalidArgumentError(`There is no "${name}". Known: ${FROZEN_NAMES.join(", ")}.`);
  });
}

function count(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError("Expected a positive whole number.");
}
