import type { Engine } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { expect } from "vitest";
import { beneath, type PluginSetting } from "../options.ts";
import { BLOCKS, run } from "../run.ts";
import type { Check } from "./check.ts";

const STEPS = 12;

export const memoryChecks: readonly Check<PluginSetting>[] = [
  {
    name: "keeps the number of tensors, step after step, and none after the run",
    check: async (setting) => {
      const before = tf.memory().numTensors;
      const counts: number[] = [];
      await run(setting, { steps: STEPS, onStep: () => void counts.push(tf.memory().numTensors) });
      // By then every program of a bounded number has run.
      expect(new Set(counts.slice(-STEPS / 3)).size, `tensors after each step: ${counts.join()}`).toBe(1);
      expect(tf.memory().numTensors).toBe(before);
    },
  },
  {
    name: "builds a bounded number of programs",
    check: async (setting) => {
      const { programs = 4 } = setting.suite;
      if (setting.engine.backend !== "onnxruntime") return;
      const built = async (uses?: Parameters<typeof run>[1]): Promise<number> => {
        const counting = countPrograms(setting.engine);
        await run(setting, { ...uses, steps: STEPS, engine: counting.engine });
        return counting.built();
      };
      const plain = await built({ uses: beneath(setting) });
      expect(plain).toBeGreaterThan(0);
      expect(await built()).toBeLessThanOrEqual(plain + BLOCKS + programs);
    },
  },
];

/** An engine that knows how many programs were built on it. */
function countPrograms(engine: Engine): { readonly engine: Engine; readonly built: () => number } {
  const compiled: ReturnType<Engine["compile"]>[] = [];
  const counting: Engine = {
    ...{ name: engine.name, device: engine.device, backend: engine.backend },
    compile: (fn, options) => {
      const program = engine.compile(fn, options);
      compiled.push(program);
      return program;
    },
  };
  return {
    engine: counting,
    built: () => compiled.reduce((sum, { counters }) => sum + counters.programsBuilt, 0),
  };
}
