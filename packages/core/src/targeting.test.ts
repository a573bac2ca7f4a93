import { describe, expect, it } from "vitest";
import { tinyModel } from "../test/tiny.ts";
import { listTargets, patternValue, PeftError, resolveTargets, targetFields, type TargetConfig } from "./index.ts";
import { isInBlocks } from "./targeting.ts";
import { z } from "zod";

const base = tinyModel();
const schema = z.strictObject(targetFields);
const targets = (config: Partial<TargetConfig>, context = base): string[] =>
  resolveTargets(schema.parse(config), context).map((site) => site.path);
const QUERIES = ["body.layer.0.query", "body.layer.1.query"];

function failure(config: Partial<TargetConfig>, context = base): PeftError {
  try {
    targets(config, context);
  } catch (error) {
    expect(error).toBeInstanceOf(PeftError);
    return error as PeftError;
  }
  throw new Error("nothing was thrown");
}

describe("resolveTargets", () => {
  it.each<[string, Partial<TargetConfig>, string[]]>([
    ["the architecture's own targets", {}, QUERIES],
    ["a suffix", { targetModules: ["value"] }, ["body.layer.1.value"]],
    ["a longer suffix", { targetModules: ["1.query"] }, ["body.layer.1.query"]],
    ["suffixes in the model's order", { targetModules: ["value", "query"] }, [...QUERIES, "body.layer.1.value"]],
    ["a suffix only behind a dot", { targetModules: ["uery", "value"] }, ["body.layer.1.value"]],
    ["list entries literally", { targetModules: ["body.layer.\\d.query", "value"] }, ["body.layer.1.value"]],
    [
      "a regular expression over the whole path",
      { targetModules: ".*\\.(query|value)" },
      [...QUERIES, "body.layer.1.value"],
    ],
    ["alternatives of a regular expression as a whole", { targetModules: "x|.*0\\.query" }, ["body.layer.0.query"]],
    [
      "all-linear, without the head and the embedding",
      { targetModules: "all-linear" },
      [...QUERIES, "body.layer.1.value"],
    ],
    ["all-linear in capitals", { targetModules: "ALL-LINEAR", layersToTransform: 0 }, ["body.layer.0.query"]],
    [
      "all-linear with the head when it is not saved",
      { targetModules: "all-linear", modulesToSave: [] },
      [...QUERIES, "body.layer.1.value", "classifier"],
    ],
    ["an embedding by name", { targetModules: ["embed"] }, ["body.embed"]],
    ["roles", { targetRoles: ["value", "embedding"] }, ["body.embed", "body.layer.1.value"]],
    [
      "all but excluded suffixes",
      { targetModules: "all-linear", excludeModules: ["0.query", "value"] },
      ["body.layer.1.query"],
    ],
    [
      "all but an excluded expression",
      { targetModules: "all-linear", excludeModules: ".*query" },
      ["body.layer.1.value"],
    ],
    ["one block", { layersToTransform: 1 }, ["body.layer.1.query"]],
    ["several blocks", { targetModules: ["query", "embed"], layersToTransform: [0, 1] }, QUERIES],
    [
      "a whole path whatever the blocks",
      { targetModules: ["query", "body.embed"], layersToTransform: [0] },
      ["body.embed", "body.layer.0.query"],
    ],
    ["every block when the list is empty", { layersToTransform: [] }, QUERIES],
    [
      "blocks behind a component of a name",
      { layersToTransform: 0, layersPattern: ["blocks", "layer"] },
      ["body.layer.0.query"],
    ],
    ["the head when it is not saved", { targetModules: ["classifier"], modulesToSave: [] }, ["classifier"]],
    [
      "nothing of a saved module",
      { targetModules: ["query", "value"], modulesToSave: ["layer.1"] },
      ["body.layer.0.query"],
    ],
  ])("finds %s", (_, config, expected) => {
    expect(targets(config)).toEqual(expected);
  });

  it("matches names of saved modules by whole components", () => {
    expect(targets({ targetModules: ["query"], modulesToSave: ["layer.1.que"] })).toEqual(QUERIES);
  });

  it.each<[string, Partial<TargetConfig>, string, RegExp]>([
    [
      "near misses and what there is",
      { targetModules: ["qurey"] },
      "TARGET_NOT_FOUND",
      /matches \["qurey"\]\. Did you mean "query"\? Layers end in: embed, query, value\./u,
    ],
    ["a role's near misses", { targetRoles: ["valeu"] }, "TARGET_NOT_FOUND", /Did you mean "value"\?/u],
    [
      "excluded layers",
      { excludeModules: ["query"] },
      "TARGET_NOT_FOUND",
      /3 layers are left out by excludeModules or modulesToSave/u,
    ],
    [
      "blocks that do not exist",
      { layersToTransform: [7] },
      "TARGET_NOT_FOUND",
      /layersToTransform \[7\] leaves none of the 2 matched layers. The model has blocks 0 to 1/u,
    ],
    [
      "a component that no path has",
      { layersToTransform: [0], layersPattern: "h" },
      "TARGET_NOT_FOUND",
      /layersToTransform \[0\] with layersPattern "h" leaves none of the 2 matched layers/u,
    ],
    ["a pattern without indices", { layersPattern: "layer" }, "CONFIG_INVALID", /layersToTransform names none/u],
    ["a broken expression", { targetModules: "(" }, "CONFIG_INVALID", /"\(" is not a regular expression/u],
    ["two selections", { targetModules: ["query"], targetRoles: ["query"] }, "CONFIG_INVALID", /Keep one of them/u],
  ])("explains %s", (_, config, code, message) => {
    const error = failure(config);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });

  it("asks for targets where the architecture has none of its own", () => {
    expect(failure({}, { ...base, defaultTargets: [] }).message).toMatch(/no default targets. Set targetModules/u);
  });
});

describe("isInBlocks", () => {
  it.each<[string, { block: number | null; pattern: string | string[] | null; index: number | null }]>([
    ["model.layers.3.mlp.experts.5.up", { block: 3, pattern: null, index: 3 }],
    ["model.layers.3.mlp.experts.5.up", { block: 3, pattern: "experts", index: 5 }],
    // The Python library finds no index at the front of a path.
    ["h.4.attn.c_attn", { block: null, pattern: null, index: 4 }],
    ["h.4.attn.c_attn", { block: null, pattern: "h", index: 4 }],
    ["trunk.h.4", { block: null, pattern: null, index: 4 }],
    ["2.query", { block: null, pattern: null, index: 2 }],
    ["a.layer.7.query", { block: null, pattern: ["blocks", "lay.*"], index: 7 }],
    ["a.layers.7.query", { block: null, pattern: "layer", index: null }],
    ["pooler.dense", { block: null, pattern: null, index: null }],
  ])("reads the index of %s: %o", (path, { block, pattern, index }) => {
    const found = [0, 1, 2, 3, 4, 5, 6, 7].filter((i) =>
      isInBlocks({ layersToTransform: [i], layersPattern: pattern }, { path, block }),
    );
    expect(found).toEqual(index === null ? [] : [index]);
  });
});

describe("listTargets", () => {
  it("names what settings would attach to", () => {
    expect(listTargets(base, { targetRoles: ["query"], layersToTransform: 1 })).toEqual(["body.layer.1.query"]);
    expect(listTargets(base)).toEqual(QUERIES);
  });
});

describe("patternValue", () => {
  it("takes the first key that matches the whole path or its tail after a dot", () => {
    const patterns = { "layer.0.query": 4, "^body.layer.1.query": 8, "v.*": 16, query: 32 };
    const values = ["body.layer.0.query", "body.layer.1.query", "body.layer.1.value", "query", "body.subquery"].map(
      (path) => patternValue(patterns, path),
    );
    expect(values).toEqual([4, 8, 16, 32, undefined]);
  });
});
