import { cpSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { expectSameFolder, expectSameTensors, filesIn, reportsOf } from "../compare.ts";
import { beneath, used, type PluginSetting } from "../options.ts";
import { run, type Trace } from "../run.ts";
import type { Check } from "./check.ts";

/** Dropout, so that what goes on has to draw what it would have drawn. */
const noisy = { dropout: 0.1 } as const;

/** An interrupted run goes on as if nothing had happened. */
export const resumeChecks: readonly Check<PluginSetting>[] = [
  {
    name: "a run that breaks down, goes on, and breaks down again is the run that does not, bit for bit",
    check: async (setting) => {
      const { suite } = setting;
      const whole = await run(setting, noisy);
      const dir = setting.folder();
      const ends = [...(suite.interruptedAfter ?? [1, Math.floor(suite.steps / 2)]), suite.steps];
      let [from, rest] = [0, whole];
      for (const end of ends) {
        const broken = end === suite.steps ? {} : { interruptedAfter: end };
        rest = await run(setting, { ...noisy, ...broken, dir, training: { resume: from > 0 } });
        // One step after the checkpoint is done, and lost.
        const done = `after step ${from}`;
        expect(rest.losses, done).toEqual(whole.losses.slice(from, end + 1));
        expect(rest.records, done).toEqual(whole.records.filter(({ step }) => step > from && step <= end + 1));
        from = end;
      }
      expectSameTensors(rest.parameters, whole.parameters);
      expectSameFolder(lastCheckpoint(rest, suite.steps), lastCheckpoint(whole, suite.steps));
      expectSameFolder(reportsOf(rest), reportsOf(whole));
    },
  },
  {
    name: "a run does not go on under another config, without the plug-in, or with it where there was none",
    check: async (setting) => {
      const { suite } = setting;
      const { dir } = await run(setting, { interruptedAfter: 1 });
      const plain = await run(setting, { interruptedAfter: 1, uses: beneath(setting) });
      const resumed = async (from: string, uses: Parameters<typeof run>[1]): Promise<void> => {
        const copy = setting.folder();
        cpSync(from, copy, { recursive: true });
        await run(setting, { ...uses, dir: copy, training: { resume: true } });
      };
      const mismatch = expect.objectContaining({ code: "RESUME_MISMATCH" }) as unknown;
      await expect(resumed(dir, { uses: [...beneath(setting), used(suite, suite.changed)] })).rejects.toThrow(mismatch);
      await expect(resumed(dir, { uses: beneath(setting) })).rejects.toThrow(mismatch);
      await expect(resumed(plain.dir, {})).rejects.toThrow(mismatch);
    },
  },
];

function lastCheckpoint({ dir }: Trace, steps: number): Readonly<Record<string, string>> {
  const files = filesIn(join(dir, "checkpoints", `step-${steps}`));
  expect(Object.keys(files).length).toBeGreaterThan(0);
  return files;
}
