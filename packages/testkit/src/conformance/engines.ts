import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { beforeAll, describe } from "vitest";
import { compiledEngine, eagerEngine } from "../engines.ts";

/** The tests once on the compiled engine and once on the eager one, which is there when they run. */
export function describeOnEngines(name: string, tests: (engine: () => Engine) => void): void {
  describe.each([
    ["compiled", compiledEngine],
    ["eager", eagerEngine],
  ] as const)(`${name}, %s`, (_, options) => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await createEngine(options);
    });
    tests(() => engine);
  });
}
