import { describe, expect, it } from "vitest";
import { architectures } from "./architectures.ts";
import { countTrainable } from "./counting.ts";
import type { Suite } from "./options.ts";

/** What the method adds to well-known models, with its default config. */
export function checkCounts({ method, counts }: Suite): void {
  describe("parameters of the method", () => {
    for (const [name, count] of Object.entries(counts) as [keyof typeof architectures, number][]) {
      it(`${name}: ${count.toLocaleString("en-US")}`, () => {
        expect(countTrainable(method, {}, architectures[name]).adapter).toBe(count);
      });
    }
  });
}
