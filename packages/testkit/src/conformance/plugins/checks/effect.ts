import { saveAdapter } from "@peftjs/core";
import { expect } from "vitest";
import { tol } from "../../../close.ts";
import { readAdapterConfig, readAdapterTensors } from "../../adapterFolder.ts";
import { tinyModel } from "../../subjects.ts";
import { differences, expectCloseRun, expectSameFolder, expectSameRun, reportsOf } from "../compare.ts";
import { beneath, type PluginSetting } from "../options.ts";
import { BLOCKS, run, type Trace } from "../run.ts";
import type { Check } from "./check.ts";

/** What it changes, and what it leaves alone. */
export const effectChecks: readonly Check<PluginSetting>[] = [
  {
    name: "makes another run than the method alone, and the same one each time",
    check: async (setting) => {
      const [once, again] = [await run(setting, { dropout: 0.1 }), await run(setting, { dropout: 0.1 })];
      expectSameRun(again, once);
      expect(again.records).toEqual(once.records);
      expectSameFolder(reportsOf(again), reportsOf(once));
      const plain = await run(setting, { dropout: 0.1, uses: beneath(setting) });
      expect(differences(once, plain, tol.deep), "differences from the run without it").not.toEqual([]);
    },
  },
  {
    name: "changes nothing where it is neutral",
    check: async (setting) => {
      const { suite } = setting;
      for (const { config, training = {}, tolerance } of suite.neutral) {
        const own = { plugin: suite.plugin, config };
        const [actual, plain] = [
          await run(setting, { training, uses: [...beneath(setting), own] }),
          await run(setting, { training, uses: beneath(setting) }),
        ];
        if (tolerance === undefined) expectSameRun(actual, plain);
        else expectCloseRun(actual, plain, tolerance);
      }
    },
  },
  {
    name: "never writes to the base model, and saves the adapter that the method alone would",
    check: async (setting) => {
      const { family } = setting;
      const actual = await run(setting);
      const fresh = tinyModel(family, { blocks: BLOCKS });
      for (const [name, tensor] of fresh.parameters) {
        expect(actual.base.parameters.get(name)?.data, name).toEqual(tensor.data);
      }
      const plain = await run(setting, { uses: beneath(setting) });
      const [own, expected] = [await saved(setting, actual), await saved(setting, plain)];
      expect(own.config).toEqual(expected.config);
      expect([...own.tensors.keys()]).toEqual([...expected.tensors.keys()]);
      for (const [name, tensor] of expected.tensors) {
        expect(own.tensors.get(name)?.shape, name).toEqual(tensor.shape);
      }
    },
  },
];

async function saved(
  { folder }: PluginSetting,
  { model }: Trace,
): Promise<{
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: Awaited<ReturnType<typeof readAdapterTensors>>;
}> {
  const dir = await saveAdapter(model, { dir: folder(), native: true });
  return { config: readAdapterConfig(dir), tensors: await readAdapterTensors(dir) };
}
