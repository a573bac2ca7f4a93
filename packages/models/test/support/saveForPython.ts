/**
 * Writes one folder per family, head and type with our logits beside the weights, for `tools/reference/models/check_saved.py`.
 * Run: npx tsx --conditions=@peftjs/source packages/models/test/support/saveForPython.ts <dir>
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fromConfig, fromPretrained, savePretrained, type HeadOptions } from "../../src/index.ts";
import { startCpu } from "./backend.ts";
import { bertEnc, inputE1, inputE2, preNormEnc, robertaEnc } from "./inputs.ts";
import { runModel } from "./plainForward.ts";

const [dir] = process.argv.slice(2);
if (dir === undefined) throw new Error("Give the folder to write to.");
await startCpu();
const families = [
  { config: bertEnc, input: inputE1 },
  { config: robertaEnc, input: inputE2 },
  { config: preNormEnc, input: inputE2 },
  { config: { ...robertaEnc, model_type: "xlm-roberta" }, input: inputE2 },
];
const heads: readonly HeadOptions[] = [
  { labels: ["a", "b", "c"] },
  { head: "regression" },
  { head: "maskedLM" },
  { head: "none" },
];
for (const { config, input } of families) {
  for (const [i, options] of heads.entries()) {
    for (const dtype of ["float32", "float16", "bfloat16"] as const) {
      // Larger weights than a fresh model's, so that differences show.
      const folder = join(dir, `${config.model_type}-${i}-${dtype}`);
      await savePretrained(fromConfig({ ...config, initializer_range: 0.4 }, { ...options, seed: 1 + i }), folder, {
        dtype,
      });
      const outputs = runModel(await fromPretrained(folder), input());
      const values = Object.entries(outputs).map(([name, tensor]) => [name, [...tensor.dataSync()]]);
      await writeFile(join(folder, "expected.json"), JSON.stringify(Object.fromEntries(values)));
    }
  }
}
