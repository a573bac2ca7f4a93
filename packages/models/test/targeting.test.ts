import { listTargets } from "@peftjs/core";
import type { Head, TargetConfig } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { roberta } from "../src/index.ts";

const head: Head = { kind: "sequenceClassification", labels: ["no", "yes"] };
const config = roberta.parseConfig({ max_position_embeddings: 514, type_vocab_size: 1 });
const context = {
  sites: roberta.sites(config, head),
  defaultTargets: roberta.defaultTargets,
  headModules: roberta.headModules(config, head),
};

/** Counts that the Python library gives for RoBERTa-base; "without a task" it adds no head to the saved modules. */
describe("targets on RoBERTa-base with a classification head", () => {
  const without = { modulesToSave: [] };
  it.each<[string, Partial<TargetConfig>, number]>([
    ["query", { targetModules: ["query"] }, 12],
    ["dense", { targetModules: ["dense"] }, 36],
    ["dense without a task", { targetModules: ["dense"], ...without }, 37],
    ["all-linear", { targetModules: "all-linear" }, 72],
    ["all-linear without a task", { targetModules: "all-linear", ...without }, 74],
    ["a regular expression", { targetModules: ".*layer\\.(0|1)\\..*query" }, 2],
    ["two blocks", { targetModules: ["query", "value"], layersToTransform: [0, 11] }, 4],
    [
      "two blocks by name",
      { targetModules: ["query", "value"], layersToTransform: [0, 11], layersPattern: "layer" },
      4,
    ],
  ])("%s", (_, targets, count) => {
    expect(listTargets(context, targets)).toHaveLength(count);
  });

  it("dense leaves out the head, and takes it in without a task", () => {
    const names = (targets: Partial<TargetConfig>): string[] => listTargets(context, targets);
    const more = names({ targetModules: ["dense"], ...without }).filter(
      (name) => !names({ targetModules: ["dense"] }).includes(name),
    );
    expect(more).toEqual(["classifier.dense"]);
  });
});
