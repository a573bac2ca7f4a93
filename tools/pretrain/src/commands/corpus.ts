import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import type { Paragraph } from "../corpus/build.ts";
import { buildCorpus } from "../corpus/build.ts";
import { groupBy } from "../groupBy.ts";
import { buildTasks } from "../tasks/build.ts";
import { ARTIFACTS_FOLDER } from "../folders.ts";

export function registerCorpus(program: Command): void {
  program
    .command("corpus")
    .description("write the cleaned corpus, without the documents of the tasks' dev and test rows")
    .action(() => {
      const corpus = buildCorpus(buildTasks());
      mkdirSync(ARTIFACTS_FOLDER, { recursive: true });
      for (const [name, paragraphs] of Object.entries(corpus) as [string, readonly Paragraph[]][]) {
        const lines = paragraphs.map((paragraph) => JSON.stringify(paragraph));
        writeFileSync(join(ARTIFACTS_FOLDER, `corpus.${name}.jsonl`), `${lines.join("\n")}\n`);
        for (const [source, ofSource] of groupBy(paragraphs, (paragraph) => paragraph.source)) {
          const characters = ofSource.reduce((sum, paragraph) => sum + paragraph.text.length, 0);
          console.log(
            `${name}  ${source.padEnd(10)} ${ofSource.length} paragraphs  ${(characters / 1e6).toFixed(2)} MB`,
          );
        }
      }
    });
}
