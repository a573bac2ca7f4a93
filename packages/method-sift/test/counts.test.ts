import type { Method } from "@peftjs/core";
import { architectures, countTrainable } from "@peftjs/testkit/conformance";
import { expect, it } from "vitest";
import { sift } from "../src/index.ts";

const attention = ["query", "key", "value", "attention.output.dense"];

it.each([
  ["RoBERTa-large", { rate: 0.008, targetModules: attention }, 806_208],
  ["RoBERTa-base", { rate: 0.2, targetModules: ["query", "value"] }, 2_834_856],
  ["LLaMA-7B", { rate: 0.05, targetModules: "all-linear" }, 323_800_352],
  ["RoBERTa-base", { loraRank: 8, targetModules: ["query", "value"] }, 294_912],
  // With nothing but the weights: 4,719 of 768².
  ["RoBERTa-base", { includeBias: false, targetModules: ["query"] }, 12 * 4_719],
] as const)("%s, %j: %i values", (name, config, count) => {
  const { adapter, all, trainable } = countTrainable(sift as unknown as Method, config, architectures[name]);
  expect(adapter).toBe(count);
  // An index beside every value.
  const parameters = architectures[name].parameters.reduce(
    (sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1),
    0,
  );
  expect(all - parameters).toBe(2 * count + (trainable - adapter));
});
