import { describe, expect, it } from "vitest";
import { z } from "zod";
import { fieldFlags, readValue } from "./fields.ts";

const schema = z.strictObject({
  targets: z
    .union([z.array(z.string()), z.string()])
    .nullable()
    .default(null)
    .describe("Where."),
  blocks: z
    .union([z.array(z.int()), z.int()])
    .nullable()
    .default(null),
  ranks: z.record(z.string(), z.int()).default({}),
  init: z.union([z.boolean(), z.enum(["gaussian"])]).default(true),
  scaleAll: z.boolean().default(false).describe("Everything."),
  clip: z.number().positive().nullable().default(1),
});
const flags = new Map(fieldFlags(schema).map((flag) => [flag.field, flag]));

describe("fieldFlags", () => {
  it("takes names, descriptions and defaults from the schema", () => {
    expect(flags.get("scaleAll")).toMatchObject({
      flag: "scale-all",
      description: "Everything. (default: false)",
      isBoolean: true,
    });
    expect(flags.get("targets")).toMatchObject({ flag: "targets", description: "Where.", isBoolean: false });
  });
});

describe("readValue", () => {
  it.each<[string, string, unknown]>([
    ["targets", "query", ["query"]],
    ["targets", "query,self.value", ["query", "self.value"]],
    ["targets", "all-linear", "all-linear"],
    ["targets", String.raw`.*layer\.(0|1)\..*query`, String.raw`.*layer\.(0|1)\..*query`],
    ["targets", '["a", "b"]', ["a", "b"]],
    ["targets", "null", null],
    ["blocks", "3", 3],
    ["blocks", "0,1", [0, 1]],
    ["ranks", "query=4,value=8", { query: 4, value: 8 }],
    ["ranks", '{"layer.0": 2}', { "layer.0": 2 }],
    ["init", "false", false],
    ["init", "gaussian", "gaussian"],
    ["clip", "null", null],
    ["clip", "0.5", 0.5],
    ["clip", "-1", -1],
    ["clip", "much", "much"],
  ])("%s: %s", (field, text, expected) => {
    expect(readValue(flags.get(field)!, text)).toEqual(expected);
  });
});
