import { defineTrainingPlugin, peft, PeftModel } from "@peftjs/core";
import type { AttachedPlugin, TrainingPlugin } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { expect } from "vitest";
import { z } from "zod";
import { tinyModel } from "../../subjects.ts";
import { expectSameFolder, expectSameRun, filesIn, reportsOf } from "../compare.ts";
import { used, type PluginSetting } from "../options.ts";
import { BLOCKS, build, run } from "../run.ts";
import type { Check } from "./check.ts";

const stranger = {
  description: "Another plug-in.",
  package: "@peftjs/testkit",
  config: z.strictObject({}),
} as const satisfies Partial<TrainingPlugin>;

/** Counts steps, which concerns nobody. */
const bystander: AttachedPlugin = {
  plugin: defineTrainingPlugin({
    ...stranger,
    name: "bystander",
    parameterGroup: () => ({}),
    start: ({ state }) => {
      let steps = (state as number | undefined) ?? 0;
      return { beforeStep: () => (void steps++, {}), state: () => steps };
    },
  }),
  config: {},
};

/** How it stands beside methods and other plug-ins. */
export const orderChecks: readonly Check<PluginSetting>[] = [
  {
    name: "used before the method, after it, or beside another plug-in, it makes the same run",
    check: async (setting) => {
      const { subject, suite } = setting;
      const [own, others] = [used(suite), suite.beside ?? []];
      const expected = await run(setting);
      const before = await run(setting, { uses: [...others, own, subject] });
      expectSameRun(before, expected);
      expectSameFolder(checkpointOf(before.dir, suite.steps), checkpointOf(expected.dir, suite.steps));
      for (const uses of [
        [bystander, subject, ...others, own],
        [...others, own, bystander, subject],
      ]) {
        const beside = await run(setting, { uses });
        expectSameRun(beside, expected);
        expect(beside.records).toEqual(expected.records);
        expect(reportsOf(beside)).toMatchObject(reportsOf(expected));
      }
    },
  },
  {
    name: "is used once",
    check: async ({ suite, subject, family }) => {
      const { plugin, config } = used(suite);
      const exists = expect.objectContaining({ code: "PLUGIN_EXISTS" }) as unknown;
      expect(() => peft(tinyModel(family)).use(plugin, config).use(plugin)).toThrow(exists);
      const model = await build(tinyModel(family), [subject, used(suite)]);
      expect(() => model.plugins.attach({ plugin })).toThrow(exists);
      expect(model.plugins.attached).toHaveLength(1);
      model.plugins.detach(plugin.name);
      model.plugins.attach({ plugin, config });
      expect(model.plugins.attached).toHaveLength(1);
    },
  },
  {
    name: "decides alone what it claims to decide",
    check: ({ suite, family }) => {
      const { plugin, config } = used(suite);
      const { exclusive } = plugin;
      if (exclusive === undefined) return;
      const rival = defineTrainingPlugin({ ...stranger, name: "rival", exclusive, start: () => ({}) });
      const conflict = expect.objectContaining({ code: "PLUGIN_CONFLICT" }) as unknown;
      expect(() => peft(tinyModel(family)).use(plugin, config).use(rival)).toThrow(conflict);
      expect(() => peft(tinyModel(family)).use(rival).use(plugin, config)).toThrow(conflict);
      const model = new PeftModel(tinyModel(family));
      model.plugins.attach({ plugin: rival });
      expect(() => model.plugins.attach({ plugin, config })).toThrow(conflict);
    },
  },
  {
    name: "updates no parameter that another plug-in updates",
    check: async ({ suite, subject, family }) => {
      const still = defineTrainingPlugin({
        ...stranger,
        name: "still",
        parameterRule: () => ({
          ...{ kind: "still", state: {}, scalars: () => ({}) },
          update: ({ parameter }) => ({ parameter: tf.clone(parameter), state: {} }),
        }),
      });
      const model = await build(tinyModel(family, { blocks: BLOCKS }), [subject, used(suite)]);
      const ruled = model.plugins.parameters().filter(({ key }) => model.plugins.rule(key) !== null);
      expect(ruled.length > 0).toBe(suite.plugin.parameterRule !== undefined);
      model.plugins.attach({ plugin: still });
      for (const { key } of ruled) {
        expect(() => model.plugins.rule(key)).toThrow(expect.objectContaining({ code: "PLUGIN_CONFLICT" }));
      }
    },
  },
];

function checkpointOf(dir: string, step: number): Readonly<Record<string, string>> {
  return filesIn(`${dir}/checkpoints/step-${step}`);
}
