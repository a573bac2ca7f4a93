import type { Method } from "@peftjs/core";
import { z } from "zod";

/** A setting of a method, as the command line offers it. */
export interface MethodFlag {
  /** Field of the config, e.g. `rankPattern`. */
  readonly field: string;
  /** `--rank-pattern`. */
  readonly flag: string;
  readonly description: string;
  readonly isBoolean: boolean;
  readonly schema: z.ZodType;
}

/** The fields of a method's schema, in the schema's order. Descriptions and defaults come from there alone. */
export function methodFlags(method: Method): MethodFlag[] {
  if (!(method.config instanceof z.ZodObject)) return [];
  const properties = z.toJSONSchema(method.config, { io: "input" }).properties ?? {};
  return Object.entries(method.config.shape as Record<string, z.ZodType>).map(([field, schema]) => {
    const property = properties[field];
    const json = typeof property === "object" ? property : {};
    const byDefault = json.default === undefined || json.default === null ? "" : ` (default: ${JSON.stringify(json.default)})`;
    return {
      field,
      flag: kebab(field),
      description: `${json.description ?? ""}${byDefault}`.trim(),
      isBoolean: json.type === "boolean",
      schema,
    };
  });
}

/**
 * Reads a flag's text as a value that the field accepts: JSON (numbers, booleans, null, lists, objects), then `name=value` pairs or names
 * separated by commas, then the text itself. What looks like a regular expression, or is the word `all-linear`, is never split.
 * Returns the text when nothing fits, so that the schema's own message names the field.
 */
export function readFlag(flag: MethodFlag, text: string): unknown {
  return candidates(text).find((candidate) => flag.schema.safeParse(candidate).success) ?? text;
}

function candidates(text: string): unknown[] {
  const list = /^[\w.,-]+$/.test(text) && text !== "all-linear" ? [text.split(",").filter((part) => part !== "")] : [];
  return [...jsonValues(text), pairsOf(text), ...list.flatMap((names) => [numbersOf(names), names]), text].filter((value) => value !== undefined);
}

function jsonValues(text: string): unknown[] {
  try {
    return [JSON.parse(text) as unknown];
  } catch {
    return [];
  }
}

/** `query=4,value=8` → { query: 4, value: 8 } */
function pairsOf(text: string): Record<string, unknown> | undefined {
  const pairs = text.split(",").map((pair) => /^([^=]+)=([^=]+)$/.exec(pair));
  if (!pairs.every((pair) => pair !== null)) return undefined;
  return Object.fromEntries(pairs.map(([, key = "", value = ""]) => [key.trim(), jsonValues(value)[0] ?? value]));
}

function numbersOf(names: readonly string[]): number[] | undefined {
  const values = names.map(Number);
  return values.every(Number.isFinite) ? values : undefined;
}

/** targetModules → target-modules */
export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** target-modules → targetModules */
export function camel(name: string): string {
  return name.replace(/-+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
