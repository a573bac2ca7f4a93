import { join } from "node:path";
import type { HostTensor, Named, TrainableParameter } from "@peftjs/core";
import { expect } from "vitest";
import { readTensors } from "../../adapterFolder.ts";
import { sameBits } from "../compare.ts";
import { observed } from "../observed.ts";
import { beneath, used, type PluginSetting } from "../options.ts";
import { copyOf, run } from "../run.ts";
import type { Check } from "./check.ts";

/** For plug-ins that choose blocks: what does not learn in a step stays as it is. */
export const pausingChecks: readonly Check<PluginSetting>[] = [
  {
    name: "a block that does not learn in a step keeps its parameters and the optimizer's state, and one that does changes",
    check: async (setting) => {
      const { suite } = setting;
      const { plugin, config } = used(suite);
      const watch = observed(plugin);
      const values: Named<HostTensor>[] = [];
      let parameters: readonly TrainableParameter[] = [];
      const { dir } = await run(setting, {
        uses: [...beneath(setting), { plugin: watch.plugin, config }],
        training: { saveEvery: 1, keepCheckpoints: suite.steps },
        onStep: (_, model) => {
          parameters = model.plugins.parameters();
          values.push(copyOf(model.trainable()));
        },
      });
      if (watch.choosesBlocks) expect(plugin.exclusive, "exclusive, as it chooses blocks").toBeDefined();
      expect(watch.choices).toHaveLength(watch.choosesBlocks ? suite.steps : 0);
      for (const [i, choice] of watch.choices.entries()) {
        if (i === 0) continue;
        const states = await Promise.all([i, i + 1].map((step) => optimizerState(dir, step)));
        const tensors = [values[i - 1] as Named<HostTensor>, values[i] as Named<HostTensor>] as const;
        const changed = (block: number | null): string[] =>
          parameters
            .filter((parameter) => parameter.block === block)
            .flatMap(({ key }) => [
              ...(sameBits(tensors[0][key], tensors[1][key]) ? [] : [key]),
              ...changedState(states as [State, State], key),
            ]);
        for (const block of new Set(parameters.map((parameter) => parameter.block))) {
          const learns = block === null || choice === undefined || choice.includes(block);
          const found = changed(block);
          const message = `block ${block} in step ${i + 1}, learning: ${choice?.join() ?? "all"}`;
          if (learns) expect(found.length, message).toBeGreaterThan(0);
          else expect(found, message).toEqual([]);
        }
      }
    },
  },
];

type State = ReadonlyMap<string, HostTensor>;

function optimizerState(dir: string, step: number): Promise<State> {
  return readTensors(join(dir, "checkpoints", `step-${step}`, "optimizer.safetensors"));
}

/** The state's tensors of a parameter that differ. */
function changedState([before, after]: readonly [State, State], key: string): string[] {
  return [...after.keys()].filter((name) => name.endsWith(`.${key}`) && !sameBits(before.get(name), after.get(name)));
}
