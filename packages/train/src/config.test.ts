import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { z } from "zod";
import { parseTrainingConfig, TrainingConfig } from "./index.ts";

interface Property {
  readonly description?: string;
  readonly default?: unknown;
}

it("README's table is the schema's", () => {
  const { properties = {} } = z.toJSONSchema(TrainingConfig) as { properties?: Record<string, Property> };
  const rows = Object.entries(properties).map(
    ([name, { description, default: value }]) => `| \`${name}\` | \`${JSON.stringify(value)}\` | ${description} |`,
  );
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8")
    .split("\n")
    .map((line) => line.replaceAll(/ +/gu, " "));
  const first = readme.indexOf("| Option | Default | Meaning |") + 2;
  expect(readme.slice(first, first + rows.length + 1)).toEqual([...rows, ""]);
});

it("fills in every default, and refuses unknown options", () => {
  expect(Object.values(parseTrainingConfig({})).every((value) => value !== undefined)).toBe(true);
  expect(() => parseTrainingConfig({ learningrate: 1 } as never)).toThrow(/learningrate/u);
});
