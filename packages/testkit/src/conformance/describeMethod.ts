import type { Method } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { beforeAll, describe } from "vitest";
import { compiledEngine, eagerEngine } from "../engines.ts";
import { checkCounts } from "./counts.ts";
import { checkFiles } from "./files.ts";
import { checkLayer } from "./layer.ts";
import type { ConformanceOptions, Suite } from "./options.ts";
import { checkOutputs } from "./outputs.ts";
import { checkQuantized } from "./quantized/checkQuantized.ts";
import { families } from "./subjects.ts";
import { checkDerivatives, checkEnginesAgree, checkTraining } from "./training.ts";

/**
 * The conformance suite: what every method promises by its capabilities, on tiny BERT and RoBERTa classifiers, in the eager and the
 * compiled engine. Values against a reference implementation are the method's own tests.
 */
export function describeMethod<Config extends object>(method: Method<Config>, options: ConformanceOptions): void {
  const erased = method as unknown as Method;
  const cases = options.cases ?? [{ name: "defaults", config: {} }];
  const suite: Suite = { ...options, method: erased, cases };
  let engines: readonly [Engine, Engine];
  beforeAll(async () => {
    engines = await Promise.all([createEngine(compiledEngine), createEngine(eagerEngine)]);
  });

  describe(`conformance of ${method.name}`, () => {
    checkCounts(suite);
    describe.each(cases)("$name", ({ name, config }) => {
      const subject = { method: erased, config };
      checkLayer({ suite, subject });
      checkQuantized({ suite, subject, engines: () => engines });
      describe.each(families)("%s", (family) => {
        // In one engine, which the other is compared with.
        checkDerivatives({ suite, subject, family, engine: () => engines[0] });
        checkEnginesAgree({ subject, family, engines: () => engines });
        describe.each([
          ["compiled", 0],
          ["eager", 1],
        ] as const)("%s", (_, index) => {
          const setting = { suite, subject, family, engine: () => engines[index] };
          checkOutputs(setting);
          checkTraining({ ...setting, caseName: name });
          checkFiles(setting);
        });
      });
    });
  });
}
