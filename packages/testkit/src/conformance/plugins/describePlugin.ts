import type { TrainingPlugin } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { beforeAll, describe, it } from "vitest";
import { compiledEngine, eagerEngine } from "../../engines.ts";
import { scratchFolders } from "../../folders.ts";
import type { Subject } from "../run.ts";
import type { Family } from "../subjects.ts";
import { closeChecks, enginesAgree } from "./checks/close.ts";
import { effectChecks } from "./checks/effect.ts";
import { memoryChecks } from "./checks/memory.ts";
import { orderChecks } from "./checks/order.ts";
import { pausingChecks } from "./checks/pausing.ts";
import { expectRefused } from "./checks/refusals.ts";
import { resumeChecks } from "./checks/resume.ts";
import { schemaChecks } from "./checks/schema.ts";
import { subject, type PluginConformanceOptions, type PluginSetting, type PluginSuite } from "./options.ts";
import { lowRank } from "./standIns.ts";

/** What every plug-in promises, on one method, family and engine. */
export const pluginChecks = [
  ...orderChecks,
  ...resumeChecks,
  ...effectChecks,
  ...pausingChecks,
  ...closeChecks,
  ...memoryChecks,
];

/** Each engine has a family of its own, and the engines are compared on both. */
const PLACES = [
  { kind: "compiled", family: "bert", index: 0 },
  { kind: "eager", family: "roberta", index: 1 },
] as const;

/**
 * The conformance suite of training plug-ins: what each of them promises, whatever it steers, in short runs of tiny BERT and RoBERTa
 * classifiers with four blocks, compiled and eager:
 *
 * - a config that is described, strict and JSON;
 * - one run for every order of `use`, beside other plug-ins, too; `PLUGIN_EXISTS` and `PLUGIN_CONFLICT`;
 * - a run that breaks down and goes on is the run that does not, bit for bit: losses, parameters, checkpoint, records and reports;
 *   `RESUME_MISMATCH` under another config or without the plug-in;
 * - an effect under `config`, none where `neutral` says so, the same one in every run;
 * - the base model's weights are as they were, and the saved adapter has the keys and shapes that it has without the plug-in;
 * - blocks that do not learn in a step keep parameters and optimizer state bit for bit;
 * - micro-batches, clipping, and both engines agree within `tol.deep`;
 * - a constant number of tensors and a bounded number of programs over twelve steps;
 * - the refusals that are named.
 */
export function describePlugin<Config extends object>(
  plugin: TrainingPlugin<Config>,
  options: PluginConformanceOptions<Config>,
): void {
  const suite = suiteOf(plugin, options);
  let engines: readonly [Engine, Engine];
  beforeAll(async () => {
    engines = await Promise.all([createEngine(compiledEngine), createEngine(eagerEngine)]);
  });

  describe(`conformance of the plug-in ${plugin.name}`, () => {
    const folder = scratchFolders();
    const setting = (index: 0 | 1, family: Family, method: PluginSetting["subject"]): PluginSetting => ({
      ...{ suite, subject: method, family, folder, engine: engines[index] },
    });
    it.each(schemaChecks)("$name", ({ check }) => check(suite));

    describe.each(named(suite.methods))("with $name", ({ method }) => {
      describe.each(PLACES)("$kind, $family", ({ index, family }) => {
        it.each(pluginChecks)("$name", ({ check }) => check(setting(index, family, method)));
      });
      it.each(["bert", "roberta"] as const)("the compiled run of %s is the eager one", (family) =>
        enginesAgree(setting(0, family, method), engines[1]),
      );
    });

    describe.each(named(suite.alsoWith ?? []))("with $name, too", ({ method }) => {
      // Compiling takes long, and matters for how the gradients of a block are left out.
      it.each([...resumeChecks, ...effectChecks])("$name", ({ check }) => check(setting(1, "roberta", method)));
      it.each(pausingChecks)("$name", ({ check }) => check(setting(0, "bert", method)));
    });

    const [first] = suite.methods;
    if (first === undefined) return;
    it.each([...(suite.refuses ?? [])])("refuses $name", (refused) =>
      expectRefused(setting(0, "bert", first), refused),
    );
  });
}

function named(methods: readonly Subject[]): { readonly name: string; readonly method: Subject }[] {
  return methods.map((method) => ({ name: method.method.name, method }));
}

/** The options with their defaults. */
export function suiteOf<Config extends object>(
  plugin: TrainingPlugin<Config>,
  options: PluginConformanceOptions<Config>,
): PluginSuite {
  return {
    ...{ methods: [subject(lowRank)], steps: 6 },
    ...(options as PluginConformanceOptions),
    plugin: plugin as unknown as TrainingPlugin,
  };
}
