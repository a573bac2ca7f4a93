import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { PeftError } from "@peftjs/core";
import { RunSpec } from "./results.ts";
import { runOne } from "./runOne.ts";

/** The process of one run: `node worker spec.json result.json`. */
const [specFile, resultFile] = process.argv.slice(2);
if (specFile === undefined || resultFile === undefined) throw new Error("Usage: worker spec.json result.json");

try {
  const spec = RunSpec.parse(JSON.parse(readFileSync(specFile, "utf8")));
  const result = await runOne(spec);
  writeFileSync(`${resultFile}.partial`, JSON.stringify(result));
  renameSync(`${resultFile}.partial`, resultFile);
} catch (error) {
  if (error instanceof PeftError) console.error(`error [${error.code}] ${error.message}`);
  else console.error(error);
  process.exitCode = 1;
}
