import { existsSync } from "node:fs";
import { defineConfig } from "tsdown";

const candidates = ["src/index.ts", "src/bin.ts", "src/internal.ts", "src/worker.ts", "src/analysis/index.ts"];

/** One build for every published package: ES modules and their types, one output per entry that the package has. */
export default defineConfig({
  entry: candidates.filter((file) => existsSync(file)),
  format: "esm",
  platform: "node",
  target: "node20",
  dts: true,
  fixedExtension: false,
});
