import { defineConfig } from "vitest/config";

/** The tests of the whole workspace in one run; each package keeps its own configuration. */
export default defineConfig({
  test: { projects: ["packages/*/vitest.config.ts", "tools/*/vitest.config.ts"] },
});
