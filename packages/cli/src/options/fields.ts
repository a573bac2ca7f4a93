import { PeftError } from "@peftjs/core";
import { Option } from "commander";
import { z } from "zod";

/** A field of a schema, as the command line offers it. */
export interface FieldFlag {
  /** Name in the schema, e.g. `rankPattern`. */
  readonly field: string;
  /** Name in configuration files: that of the field, unless another schema has the name. */
  readonly option: string;
  /** Name on the command line without dashes, e.g. `rank-pattern`. */
  readonly flag: string;
  readonly description: string;
  readonly isBoolean: boolean;
  readonly schema: z.ZodType;
}

/** The fields of a schema in its order. Descriptions and defaults come from there alone. */
export function fieldFlags(schema: z.ZodType): FieldFlag[] {
  if (!(schema instanceof z.ZodObject)) return [];
  const properties = z.toJSONSchema(schema, { io: "input" }).properties ?? {};
  return Object.entries(schema.shape as Record<string, z.ZodType>).map(([field, own]) => {
    const property = properties[field];
    const json = typeof property === "object" ? property : {};
    const byDefault =
      json.default === undefined || json.default === null ? "" : ` (default: ${JSON.stringify(json.default)})`;
    return {
      field,
      option: field,
      flag: kebab(field),
      description: `${json.description ?? ""}${byDefault}`.trim(),
      isBoolean: json.type === "boolean",
      schema: own,
    };
  });
}

/**
 * Reads a flag's text as a value that its field accepts: JSON (numbers, booleans, null, lists, objects), then `name=value` pairs,
 * then names separated by commas, then the text itself. What looks like a regular expression, or is the word `all-linear`, is
 * never split. When nothing fits, JSON or the text is returned, so that the schema's own message says what was given.
 */
export function readValue({ schema }: FieldFlag, text: string): unknown {
  const fitting = candidates(text).filter((candidate) => schema.safeParse(candidate).success);
  return fitting.length > 0 ? fitting[0] : (jsonValue(text) ?? text);
}

function candidates(text: string): unknown[] {
  const names =
    /^[\w.,-]+$/.test(text) && text !== "all-linear" ? text.split(",").filter((part) => part !== "") : undefined;
  const values = [jsonValue(text), pairsOf(text), names === undefined ? undefined : numbersOf(names), names, text];
  return values.filter((value) => value !== undefined);
}

function jsonValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `query=4,value=8` → { query: 4, value: 8 } */
function pairsOf(text: string): Record<string, unknown> | undefined {
  const pairs = text.split(",").map((pair) => /^([^=]+)=([^=]+)$/.exec(pair));
  if (!pairs.every((pair) => pair !== null)) return undefined;
  return Object.fromEntries(pairs.map(([, key = "", value = ""]) => [key.trim(), jsonValue(value) ?? value]));
}

function numbersOf(names: readonly string[]): number[] | undefined {
  const values = names.map(Number);
  return values.every(Number.isFinite) ? values : undefined;
}

/** The given options of one schema, by field. */
export function readValues(
  given: Readonly<Record<string, unknown>>,
  flags: readonly FieldFlag[],
): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const flag of flags) {
    const value = given[flag.option];
    if (value !== undefined) values[flag.field] = typeof value === "string" ? readValue(flag, value) : value;
  }
  return values;
}

/** Throws `CONFIG_INVALID` with the schema's own words. */
export function parseFields<T>(schema: z.ZodType<T>, values: Readonly<Record<string, unknown>>): T {
  const parsed = schema.safeParse(values);
  if (parsed.success) return parsed.data;
  throw new PeftError(
    "CONFIG_INVALID",
    `The options are not valid:\n${z.prettifyError(parsed.error)}\nSee \`--help\`.`,
  );
}

/** The option of a field, with its text unread. */
export function optionOf({ flag, isBoolean, description }: FieldFlag): Option {
  return new Option(isBoolean ? `--${flag}` : `--${flag} <value>`, description);
}

/** targetModules → target-modules */
export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** target-modules → targetModules */
export function camel(name: string): string {
  return name.replace(/-+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
