import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openSafetensors, peft } from "@peftjs/core";
import { full } from "@peftjs/method-classic";
import { savePretrained } from "@peftjs/models";
import type { Command } from "commander";
import { baseConfig, warmBase } from "../pretraining/baseModel.ts";
import { modelCard } from "../pretraining/card.ts";
import { summarizeRun } from "../pretraining/runLog.ts";
import { BASE_FOLDER, ARTIFACTS_FOLDER } from "../folders.ts";
import { PAIRS_FROM } from "./train.ts";
import { VOCABULARY_SIZE } from "./vocabulary.ts";

const SHAPE = { hidden: 192, layers: 4, heads: 4, positions: 128, vocabularySize: VOCABULARY_SIZE, seed: 1 };
const BATCH_TOKENS = 2048;
/** What the library's models have by default. */
const DROPOUT = 0.1;
const COMMAND = ["tasks", "corpus", "vocabulary", "warm-start", "train --threads 1", "export"]
  .map((name) => `npx tsx --conditions=@peftjs/source tools/pretrain/src/bin.ts ${name}`)
  .join("\n");

export function registerExport(program: Command): void {
  program
    .command("export")
    .description("write the newest checkpoint of a run as the model folder of @peftjs/base-mini")
    .option("--out <name>", "run folder under artifacts/", "run")
    .action(({ out }: { readonly out: string }) => exportModel(out));
}

async function exportModel(run: string): Promise<void> {
  const checkpoints = join(ARTIFACTS_FOLDER, run, "checkpoints");
  const step = Math.max(
    ...readdirSync(checkpoints).flatMap((name) => (name.startsWith("step-") ? [Number(name.slice(5))] : [])),
  );
  const adapted = await peft(warmBase(SHAPE)).use(full).apply();
  const file = await openSafetensors(join(checkpoints, `step-${step}`, "trainable.safetensors"));
  const names = Object.keys(adapted.trainable());
  adapted.setTrainable(
    Object.fromEntries(await Promise.all(names.map(async (name) => [name, await file.tensor(name)] as const))),
  );
  const model = adapted.mergeAndUnload();
  const folder = join(BASE_FOLDER, "model");
  await savePretrained({ ...model, configJson: { ...model.configJson, ...baseConfig(SHAPE, DROPOUT) } }, folder, {
    dtype: "float16",
  });
  const tokenizer = join(ARTIFACTS_FOLDER, "tokenizer");
  for (const name of readdirSync(tokenizer)) copyFileSync(join(tokenizer, name), join(folder, name));
  const summary = summarizeRun(run);
  const upToStep = {
    ...summary,
    steps: step,
    evaluations: summary.evaluations.filter((evaluation) => evaluation.step <= step),
  };
  const corpus = JSON.parse(readFileSync(join(ARTIFACTS_FOLDER, "tokens.json"), "utf8")) as {
    train: { tokens: number };
  };
  const parameters = [...new Set(model.parameters.values())].reduce((sum, { data }) => sum + data.length, 0);
  writeFileSync(
    join(folder, "README.md"),
    modelCard({
      summary: upToStep,
      batchTokens: BATCH_TOKENS,
      corpusTokens: corpus.train.tokens,
      parameters,
      pairsFrom: PAIRS_FROM,
      command: COMMAND,
    }),
  );
  console.log(`step ${step} → ${folder}`);
}
