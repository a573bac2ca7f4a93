import { architectures, countTrainable } from "@peftjs/testkit/conformance";
import { expect, it } from "vitest";
import { ia3 } from "../src/index.ts";

it.each([
  [["query", "value"], 18_432],
  [["query", "key", "value"], 27_648],
])("scaled outputs of %j in RoBERTa-base: %i and the head", (targetModules, adapter) => {
  const settings = { targetModules, feedforwardModules: [] };
  const expected = { adapter, trainable: adapter + 592_130 };
  expect(countTrainable(ia3, settings, architectures["RoBERTa-base"])).toMatchObject(expected);
});
