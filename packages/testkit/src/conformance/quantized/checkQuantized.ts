import type { Engine } from "@peftjs/engine";
import { describe, it } from "vitest";
import { scratchFolders } from "../../folders.ts";
import type { Suite } from "../options.ts";
import type { Subject } from "../run.ts";
import { claimOf, quantizedChecks, refusedChecks } from "./checks.ts";

export interface CheckQuantizedOptions {
  readonly suite: Suite;
  readonly subject: Subject;
  /** Made before the tests run. */
  readonly engines: () => readonly [compiled: Engine, eager: Engine];
}

/** What the method does on a base whose linear layers are held in eight bits: of one family, as families differ in nothing here. */
export function checkQuantized({ suite, subject, engines }: CheckQuantizedOptions): void {
  const family = "bert";
  describe("weights in eight bits", () => {
    const folder = scratchFolders();
    const checks = claimOf({ subject, family }) === false ? refusedChecks : quantizedChecks;
    for (const { name, check } of checks) {
      it(name, () => {
        const [compiled, eager] = engines();
        return check({ suite, subject, family, compiled, eager, folder });
      });
    }
  });
}
