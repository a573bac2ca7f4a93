import type { PluginRecord } from "@peftjs/core";
import { historyOf, importance, learned, weights } from "./history.ts";
import type { StepByBlock } from "./history.ts";
import { historyPage } from "./picture.ts";

/**
 * Files about a run, by name: `<plugin>-history.json`, a page with pictures, and tables of steps and blocks. Those of the importance
 * only where it was ever compared.
 */
export function reportFiles(plugin: string, records: readonly PluginRecord[]): Record<string, string> {
  const history = historyOf(records);
  const compared = history.updates.length > 0;
  return {
    [`${plugin}-history.json`]: `${JSON.stringify(history)}\n`,
    [`${plugin}-history.html`]: historyPage(history),
    [`${plugin}-blocks.csv`]: csv(learned(history), history.blocks),
    ...(compared && {
      [`${plugin}-importance.csv`]: csv(importance(history), history.blocks),
      [`${plugin}-weights.csv`]: csv(weights(history), history.blocks),
    }),
  };
}

/** Comma-separated values: a heading `step,block0,block1,…`, then a line per step. */
function csv({ steps, rows }: StepByBlock, blocks: readonly number[]): string {
  const heading = ["step", ...blocks.map((block) => `block${block}`)];
  const lines = steps.map((step, i) => [step, ...(rows[i] as readonly number[])].join(","));
  return `${[heading.join(","), ...lines].join("\n")}\n`;
}
