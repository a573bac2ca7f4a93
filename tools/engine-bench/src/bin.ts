import { resolve } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import type { Case } from "./cases.ts";
import { CASES, casesNamed } from "./cases.ts";
import type { Measured } from "./measure.ts";
import { measure, measureTogether } from "./measure.ts";
import { formatReport, writeResults } from "./report.ts";
import { soak } from "./soak.ts";

interface Flags {
  readonly cases: readonly Case[];
  readonly steps: number;
  readonly threads: number;
  readonly json?: string;
  readonly recompute: "none" | "blocks";
  readonly soak?: number;
  readonly together?: boolean;
}

const program = new Command("nx run engine:bench --")
  .description(
    "Times one training step per case. With PEFTJS_PYTHON naming an interpreter that has torch, transformers and peft, step by step in turn with the same step there.",
  )
  .option("--cases <names>", "comma-separated names; default: all", chosen, CASES)
  .option("--steps <n>", "counted steps per case, after 2 that warm up", count, 15)
  .option("--threads <n>", "threads of each program", count, 2)
  .option("--json <file>", "write the results there as well")
  .addOption(
    new Option("--recompute <what>", "what the backward pass computes anew")
      .choices(["none", "blocks"])
      .default("none"),
  )
  .option("--together", "instead: the cases' own steps in turn, compared with the first one")
  .option("--soak <n>", "instead: run n steps of each case and print what memory they hold on the way", count);
await program.parseAsync();
const { cases, steps, threads, json, recompute, soak: soakSteps, together = false }: Flags = program.opts();
try {
  if (soakSteps === undefined) await bench();
  else for (const task of cases) await soak({ task, threads, recompute }, soakSteps);
} catch (error) {
  program.error(error instanceof Error ? error.message : String(error));
}

async function bench(): Promise<void> {
  const measured = together ? await measureTogether({ tasks: cases, threads, recompute, steps }) : await oneByOne();
  console.log(formatReport(measured, threads));
  if (json === undefined) return;
  writeResults(
    json,
    measured.map(({ result }) => result),
  );
  console.log(`Written to ${resolve(json)}`);
}

async function oneByOne(): Promise<Measured[]> {
  const measured: Measured[] = [];
  const python = process.env["PEFTJS_PYTHON"];
  for (const [i, task] of cases.entries()) {
    console.error(`${i + 1}/${cases.length} ${task.name} …`);
    measured.push(await measure({ task, threads, recompute, steps, python }));
  }
  return measured;
}

function chosen(names: string): readonly Case[] {
  try {
    return casesNamed(names.split(","));
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

function count(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError("Expected a positive whole number.");
}
