import type { Engine } from "@peftjs/engine";
import { expect } from "vitest";
import { tol } from "../../../close.ts";
import { differences, expectCloseRun } from "../compare.ts";
import { beneath, used, type PluginSetting } from "../options.ts";
import { run, type RunOptions, type Trace } from "../run.ts";
import type { Check } from "./check.ts";

/** A bound that no gradient here comes near to, and one that all exceed. */
const WIDE = 1e6;
const NARROW = 1e-2;

/** Within a tolerance, so under settings in which a difference of rounding stays one. */
export const closeChecks: readonly Check<PluginSetting>[] = [
  {
    name: "two batches of half the rows make the step that one of all rows makes",
    check: async (setting) => {
      if (setting.suite.accumulates === false) return;
      expectCloseRun(await smooth(setting, { parts: 2 }), await smooth(setting), tol.deep);
    },
  },
  {
    name: "a bound on the gradient that is out of reach does nothing, and one that binds does",
    check: async (setting) => {
      if (setting.suite.clips === false) return;
      const clipped = (maxGradNorm: number | null): Promise<Trace> => smooth(setting, { training: { maxGradNorm } });
      const free = await clipped(null);
      expectCloseRun(await clipped(WIDE), free, tol.deep);
      expect(differences(await clipped(NARROW), free, tol.deep), "differences when clipped").not.toEqual([]);
    },
  },
];

/** The compiled run is the eager one. */
export async function enginesAgree(setting: PluginSetting, other: Engine): Promise<void> {
  expectCloseRun(await smooth(setting), await smooth(setting, { engine: other }), tol.deep);
}

function smooth(setting: PluginSetting, options: RunOptions = {}): Promise<Trace> {
  const { suite } = setting;
  return run(setting, {
    ...options,
    uses: [...beneath(setting), used(suite, suite.smooth)],
    training: { optimizer: "sgd", momentum: 0.5, learningRate: 5e-2, ...options.training },
  });
}
