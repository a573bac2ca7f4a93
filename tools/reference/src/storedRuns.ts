import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  bagOfWordsScores,
  differenceTable,
  frozenPairs,
  lossPicture,
  markdownTable,
  planRuns,
  readExperiment,
  readMethodSettings,
  registeredMethods,
  registeredPlugins,
  runKey,
  StoredRun,
  summaryTable,
} from "@peftjs/bench";
import { listTasks } from "@peftjs/data";

/**
 * Adds the finished runs of the folders that `npm run bench -- --preset PRESET --out FOLDER` wrote to packages/bench/results/PRESET.json,
 * and prints the tables of packages/bench/README.md; the losses of runs that differ in how frozen weights are held alone go to PRESET.svg.
 * Times and memory are left out: those runs were made beside other work.
 *
 *   npx tsx --conditions=@peftjs/source tools/reference/src/storedRuns.ts PRESET [FOLDER…]
 */
const [preset = "full", ...folders] = process.argv.slice(2);
const file = join(import.meta.dirname, `../../../packages/bench/results/${preset}.json`);
const MEASURED = ["ms/step", "peak memory", "plug-in ms/step"];

const stored = new Map((existsSync(file) ? read(file) : []).map((run) => [runKey(run.spec), run]));
for (const folder of folders.map((path) => join(path, "runs"))) {
  for (const name of readdirSync(folder)) {
    const run = StoredRun.parse(JSON.parse(readFileSync(join(folder, name), "utf8")));
    if (run.result.status === "ok") stored.set(runKey(run.spec), run);
  }
}
const planned = planRuns({
  experiment: readExperiment(preset),
  settings: readMethodSettings(),
  allMethods: registeredMethods()
    .list()
    .map(({ name }) => name),
  allPlugins: registeredPlugins().map(({ name }) => name),
  allTasks: listTasks().map(({ name }) => name),
  engine: "onnx",
});
// In the preset's order; runs of methods that are gone fall out.
const runs = planned.flatMap((run) => stored.get(runKey(run)) ?? []);
writeFileSync(file, `[\n${runs.map((run) => JSON.stringify(run)).join(",\n")}\n]\n`);

const specs = runs.map(({ spec }) => spec);
const results = runs.map(({ result }) => result);
const pairs = frozenPairs(specs, results);
const tables = [summaryTable(results, bagOfWordsScores()), ...(pairs.length === 0 ? [] : [differenceTable(pairs)])];
console.log(tables.map((table) => markdownTable(unmeasured(table))).join("\n\n"));
const picture = lossPicture(pairs);
if (picture !== null) writeFileSync(file.replace(/json$/u, "svg"), picture);

function unmeasured([heading = [], ...rows]: readonly (readonly string[])[]): string[][] {
  const kept = heading.flatMap((title, column) => (MEASURED.includes(title) ? [] : [column]));
  return [heading, ...rows].map((row) => kept.map((column) => row[column] ?? ""));
}

function read(path: string): StoredRun[] {
  return StoredRun.array().parse(JSON.parse(readFileSync(path, "utf8")));
}
