import { parseConfig } from "@peftjs/core";
import { expect } from "vitest";
import { z } from "zod";
import type { PluginSuite } from "../options.ts";
import type { Check } from "./check.ts";

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: unknown;
  readonly description?: string;
  readonly default?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
}

/** What a plug-in says of itself. */
export const schemaChecks: readonly Check<PluginSuite>[] = [
  {
    name: "says what it is called, what it does and where it comes from",
    check: ({ plugin: { name, description, package: home } }) => {
      expect(name).toMatch(/^[A-Za-z][\w-]*$/u);
      expect(description).toMatch(/^\S.*\.$/su);
      expect(home).toMatch(/^(@[\w-]+\/)?[\w.-]+$/u);
    },
  },
  {
    name: "every field of its config has a default and a description",
    check: ({ plugin }) => {
      const schema = z.toJSONSchema(plugin.config, { io: "input", unrepresentable: "any" }) as Schema;
      const complaints = [...incomplete(schema, "")];
      expect(complaints).toEqual([]);
    },
  },
  {
    name: "refuses unknown fields, and fills in the rest",
    check: ({ plugin, config, changed }) => {
      expect(() => parseConfig(plugin, { ...config, noSuchField: 1 })).toThrow(
        expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining("noSuchField") as unknown }),
      );
      const defaults = parseConfig(plugin, {});
      expect(parseConfig(plugin, defaults)).toEqual(defaults);
      expect(parseConfig(plugin, { ...config, ...changed })).not.toEqual(parseConfig(plugin, config));
    },
  },
  {
    name: "its config survives JSON, in which runs are compared",
    check: ({ plugin, config }) => {
      const parsed = parseConfig(plugin, config);
      expect(JSON.parse(JSON.stringify(parsed))).toEqual(parsed);
    },
  },
];

/** Fields without a description or a default, objects within fields included. */
function* incomplete(schema: Schema, path: string): Generator<string> {
  if (schema.properties !== undefined && schema.additionalProperties !== false)
    yield `${path || "config"} is not strict`;
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const full = path === "" ? name : `${path}.${name}`;
    if (field.description === undefined) yield `${full} has no description`;
    if (!("default" in field)) yield `${full} has no default`;
    for (const inner of [field, ...(field.anyOf ?? [])]) yield* incomplete(inner, full);
  }
}
