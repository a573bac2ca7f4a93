import { PeftError } from "@peftjs/core";
import { expect } from "vitest";
import { used, type PluginSetting, type RefusedCase } from "../options.ts";
import { run } from "../run.ts";

/** A combination is refused before anything is trained, with a code and what to do. */
export async function expectRefused(setting: PluginSetting, refused: RefusedCase): Promise<void> {
  const { suite, subject } = setting;
  const { methods = [subject], config = {}, training = {}, blocks, code, remedy } = refused;
  let steps = 0;
  const error: unknown = await run(setting, {
    ...{ uses: [...methods, ...(suite.beside ?? []), used(suite, config)], training, onStep: () => void steps++ },
    ...(blocks === undefined ? {} : { blocks }),
  }).then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error, "what was thrown").toBeInstanceOf(PeftError);
  const { code: actual, message } = error as PeftError;
  expect([actual, steps], message).toEqual([code, 0]);
  expect(message).toMatch(remedy);
}
