import { registeredMethods } from "@peftjs/bench";
import { parseConfig, PeftError } from "@peftjs/core";
import type { Method } from "@peftjs/core";
import { listOfNames } from "../options/common.ts";
import { camel, fieldFlags, readValue } from "../options/fields.ts";

/** A method with its settings, and the text that asked for it. */
export interface ChosenMethod {
  readonly name: string;
  readonly method: Method;
  readonly config: object;
}

/**
 * Reads `full,lora:rank=4,rocoft:mode=column:rank=1`: methods separated by commas, each with its settings after colons.
 * @throws PeftError `METHOD_UNKNOWN`, `CONFIG_INVALID`; `USAGE` for an empty list.
 */
export function chosenMethods(text: string): ChosenMethod[] {
  const names = listOfNames(text);
  if (names.length === 0)
    throw new PeftError("USAGE", "--methods names no method. Give at least one, e.g. full,rocoft:rank=1.");
  return names.map((name) => {
    const [first = "", ...settings] = name.split(":").filter((part) => part !== "");
    const method = registeredMethods().get(first);
    return { name, method, config: parseConfig(method, readSettings(method, settings)) };
  });
}

/** Settings that the method does not have are left for its schema to complain about. */
function readSettings(method: Method, settings: readonly string[]): Record<string, unknown> {
  const flags = fieldFlags(method.config);
  return Object.fromEntries(
    settings.map((setting) => {
      const [, key = setting, text = "true"] = /^([^=]+)=(.*)$/su.exec(setting) ?? [];
      const flag = flags.find(({ field }) => field === camel(key));
      return [camel(key), flag === undefined ? text : readValue(flag, text)];
    }),
  );
}
