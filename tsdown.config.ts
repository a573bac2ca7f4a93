import { defineConfig } from "tsdown";

/** One build for every published package: ES modules and their types. */
export default defineConfig({
  entry: ["src/index.ts", "src/bin.ts", "src/internal.ts", "src/worker.ts"],
  format: "esm",
  platform: "node",
  target: "node20",
  dts: true,
  fixedExtension: false,
});
