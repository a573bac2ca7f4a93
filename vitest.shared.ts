import { defineConfig } from "vitest/config";

/** Tests run from the sources of every package: no build is needed. */
export default defineConfig({
  resolve: { conditions: ["@peftjs/source", "module", "node", "development|production"] },
  ssr: { resolve: { conditions: ["@peftjs/source", "module", "node", "development|production"] } },
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    passWithNoTests: true,
    pool: "forks",
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
