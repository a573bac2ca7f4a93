import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { defineTrainingPlugin } from "@peftjs/core";
import type { TrainingPlugin } from "@peftjs/core";
import { scratchFolders } from "@peftjs/testkit";
import { baseWeights, lowRank, subject } from "@peftjs/testkit/conformance";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { enginesAgree } from "../src/conformance/plugins/checks/close.ts";
import { expectRefused } from "../src/conformance/plugins/checks/refusals.ts";
import { schemaChecks } from "../src/conformance/plugins/checks/schema.ts";
import { pluginChecks, suiteOf } from "../src/conformance/plugins/describePlugin.ts";
import type { PluginConformanceOptions, PluginSetting } from "../src/conformance/plugins/options.ts";
import { compiledEngine, eagerEngine } from "../src/engines.ts";
import { plain, plainRule, rates, turns } from "./toys.ts";

const folder = scratchFolders();
let engines: { readonly compiled: Engine; readonly eager: Engine };
beforeAll(async () => {
  engines = { compiled: await createEngine(compiledEngine), eager: await createEngine(eagerEngine) };
});

type Options<Config extends object> = Partial<PluginConformanceOptions<Config>>;

/** The plug-in, eager, with something of its options changed. */
function setting<Config extends object>(plugin: TrainingPlugin<Config>, options: Options<Config> = {}): PluginSetting {
  const suite = suiteOf(plugin, { config: {}, changed: {}, neutral: [], ...options });
  return {
    ...{ suite, folder, family: "bert", engine: engines.eager },
    subject: plugin.parameterRule === undefined ? subject(lowRank) : subject(baseWeights),
  };
}

/** Runs one check, found by a part of its name. */
async function check(part: RegExp, given: PluginSetting): Promise<void> {
  const found = pluginChecks.filter(({ name }) => part.test(name));
  expect(found).toHaveLength(1);
  await found[0]?.check(given);
}

function schemaProblems(plugin: TrainingPlugin<never> | TrainingPlugin): string[] {
  const suite = suiteOf(plugin as TrainingPlugin, { config: {}, changed: {}, neutral: [] });
  return schemaChecks.flatMap(({ name, check: run }) => {
    try {
      void run(suite);
      return [];
    } catch {
      return [name];
    }
  });
}

describe("what a plug-in says of itself", () => {
  const withConfig = (config: z.ZodType<object>): TrainingPlugin =>
    defineTrainingPlugin<object>({ name: "toy", description: "A toy.", package: "toys", config, start: () => ({}) });
  const described = z.int().default(1).describe("A number.");

  it("no text, a field without a default or a description, a lax config, no JSON", () => {
    const changed = /refuses unknown fields/u;
    const about = (config: z.ZodType<object>): string[] =>
      schemaProblems(withConfig(config)).filter((name) => !changed.test(name));
    expect(about(z.strictObject({ a: described }))).toEqual([]);
    expect(schemaProblems({ ...withConfig(z.strictObject({})), description: "" })[0]).toMatch(/what it is called/u);
    expect(about(z.strictObject({ a: z.int().describe("A number.") }))[0]).toMatch(/every field/u);
    expect(about(z.strictObject({ a: z.int().default(1) }))[0]).toMatch(/every field/u);
    const inner = z
      .strictObject({ b: z.int().default(1) })
      .nullable()
      .default(null)
      .describe("More.");
    expect(about(z.strictObject({ inner }))[0]).toMatch(/every field/u);
    expect(about(z.object({ a: described }))[0]).toMatch(/every field/u);
    expect(about(z.strictObject({ a: z.date().default(new Date(0)).describe("A day.") }))[0]).toMatch(/JSON/u);
  });
});

describe("a plug-in that breaks a promise is found out:", () => {
  it("it forgets its state", async () => {
    const forgetful: typeof turns = {
      ...turns,
      start: (context) => ({ ...turns.start?.({ ...context, state: undefined }) }),
    };
    await expect(check(/breaks down/u, setting(forgetful, { config: { every: 2 } }))).rejects.toThrow();
  });

  it("it remembers another run", async () => {
    let started = 0;
    const leaking: typeof turns = {
      ...turns,
      start: (context) => ({ ...turns.start?.({ ...context, config: { ...context.config, from: started++ % 4 } }) }),
    };
    await expect(check(/the same one each time/u, setting(leaking))).rejects.toThrow();
    await expect(check(/before the method/u, setting(leaking))).rejects.toThrow();
  });

  it("it says what the clock says", async () => {
    let clock = 0;
    const timed: typeof turns = {
      ...turns,
      start: (context) => {
        const record = (entry: object): void => context.tools.record({ ...entry, milliseconds: clock++ });
        return { ...turns.start?.({ ...context, tools: { ...context.tools, record } }) };
      },
    };
    await expect(check(/the same one each time/u, setting(timed))).rejects.toThrow();
  });

  it("it has no effect, or one where it says that it has none", async () => {
    await expect(check(/makes another run/u, setting(turns, { config: { all: true } }))).rejects.toThrow();
    const neutral = [{ name: "one rate", config: {} }];
    await expect(check(/neutral/u, setting(rates, { neutral }))).rejects.toThrow();
    const tolerance = { absolute: 1e-4, relative: 1e-4 };
    await expect(check(/neutral/u, setting(rates, { neutral: [{ ...neutral[0]!, tolerance }] }))).rejects.toThrow();
  });

  it("it keeps in a rule what belongs to the state", async () => {
    const counting: typeof plain = {
      ...plain,
      parameterRule: (parameter, config) => {
        let updates = 0;
        const rule = plain.parameterRule?.(parameter, config) ?? null;
        if (rule === null) return null;
        return { ...rule, scalars: ({ learningRate }) => ({ step: learningRate / ++updates, momentum: 0 }) };
      },
    };
    await expect(check(/breaks down/u, setting(counting))).rejects.toThrow();
  });

  it("it does not heed the bound of the gradient", async () => {
    const deaf: typeof plain = {
      ...plain,
      parameterRule: (parameter, config) => {
        if (parameter.shape.length !== 2) return null;
        const rule = plainRule(parameter, config);
        return { ...rule, update: (input) => rule.update({ ...input, gradientScale: null }) };
      },
    };
    // The head, too, is a matrix; its bias alone would still be clipped.
    const alone = { ...setting(deaf), subject: subject(baseWeights, { modulesToSave: [] }) };
    await expect(check(/that is out of reach/u, alone)).rejects.toThrow();
  });

  it("it counts a step's micro-batches", async () => {
    const halving: typeof plain = {
      ...plain,
      parameterRule: (parameter, config) => {
        const rule = plain.parameterRule?.(parameter, config) ?? null;
        // Not linear in the gradient: micro-batches do not add up.
        const reduce = (gradient: tf.Tensor): tf.Tensor => tf.mul(gradient, tf.abs(gradient));
        return rule === null ? null : { ...rule, reduce, reduced: parameter.shape };
      },
    };
    await expect(check(/half the rows/u, setting(halving))).rejects.toThrow();
  });

  it("its compiled update is not its eager one", async () => {
    const flaky: typeof plain = {
      ...plain,
      parameterRule: (parameter, config) => {
        const rule = plain.parameterRule?.(parameter, config) ?? null;
        // A count of calls is a constant of the compiled program.
        let calls = 0;
        if (rule === null) return null;
        return {
          ...rule,
          kind: `flaky ${parameter.key}`,
          update: (input) => rule.update({ ...input, gradient: tf.mul(input.gradient, ++calls) }),
        };
      },
    };
    const compiled = { ...setting(flaky), engine: engines.compiled };
    await expect(enginesAgree(compiled, engines.eager)).rejects.toThrow();
  });

  it("it lets tensors lie about, or has a program for every step", async () => {
    const leaking: typeof turns = {
      ...turns,
      start: () => ({ beforeStep: () => (tf.keep(tf.scalar(1)), {}) }),
    };
    await expect(check(/number of tensors/u, setting(leaking))).rejects.toThrow();
    const compiled = { ...setting(turns, { programs: -100 }), engine: engines.compiled };
    await expect(check(/bounded number/u, compiled)).rejects.toThrow();
  });

  it("it is refused for another reason, without saying what to do, or not at all", async () => {
    const given = setting(turns);
    const refused = { name: "", config: { from: 4 }, code: "CONFIG_INVALID", remedy: /Set from/u };
    await expectRefused(given, refused);
    await expect(expectRefused(given, { ...refused, code: "OTHER" })).rejects.toThrow();
    await expect(expectRefused(given, { ...refused, remedy: /Take another/u })).rejects.toThrow();
    await expect(expectRefused(given, { ...refused, config: {} })).rejects.toThrow();
  });

  it("it may stand beside another one that chooses blocks", async () => {
    const { exclusive: _, ...sociable } = turns;
    await expect(check(/keeps its parameters/u, setting(sociable))).rejects.toThrow(/exclusive/u);
  });
});
