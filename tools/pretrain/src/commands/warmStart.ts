import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { warmStart } from "../warmStart/warmStart.ts";
import { ARTIFACTS_FOLDER } from "../folders.ts";
import { VOCABULARY_SIZE } from "./vocabulary.ts";

interface Flags {
  readonly hidden: string;
  readonly layers: string;
  readonly heads: string;
  readonly positions: string;
  readonly positionOffset: string;
  readonly seed: string;
}

export function registerWarmStart(program: Command): void {
  program
    .command("warm-start")
    .description(
      "compute the start values of the base model: artifacts/warm-start.bin (float32) and its index warm-start.json",
    )
    .option("--hidden <n>", "width", "192")
    .option("--layers <n>", "blocks", "4")
    .option("--heads <n>", "heads", "4")
    .option("--positions <n>", "rows of the position table", "128")
    .option("--position-offset <n>", "row of the first position", "0")
    .option("--seed <n>", "seed", "1")
    .action((flags: Flags) => {
      const tensors = warmStart({
        hidden: Number(flags.hidden),
        layers: Number(flags.layers),
        heads: Number(flags.heads),
        positions: Number(flags.positions),
        positionOffset: Number(flags.positionOffset),
        seed: Number(flags.seed),
        vocabularySize: VOCABULARY_SIZE,
        tokens: readTokens("train"),
      });
      let offset = 0;
      const index: Record<string, { shape: readonly number[]; offset: number }> = {};
      for (const [name, { shape, data }] of Object.entries(tensors)) {
        index[name] = { shape, offset };
        offset += data.byteLength;
      }
      writeFileSync(
        join(ARTIFACTS_FOLDER, "warm-start.bin"),
        Buffer.concat(Object.values(tensors).map(({ data }) => Buffer.from(data.buffer))),
      );
      writeFileSync(join(ARTIFACTS_FOLDER, "warm-start.json"), `${JSON.stringify(index, null, 2)}\n`);
      console.log(`${Object.keys(index).length} tensors, ${(offset / 1e6).toFixed(1)} MB`);
    });
}

/** The tokenized corpus, as the command `vocabulary` writes it. */
export function readTokens(split: "train" | "heldout"): Uint16Array {
  const bytes = readFileSync(join(ARTIFACTS_FOLDER, `tokens.${split}.bin`));
  return new Uint16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}
