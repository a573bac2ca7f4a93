import { registeredMethods } from "@peftjs/bench";
import { parseConfig } from "@peftjs/core";
import type { Method } from "@peftjs/core";
import { camel, fieldFlags, readValue } from "../options/fields.ts";

/** A method with its settings, and the text that asked for it. */
export interface ChosenMethod {
  readonly name: string;
  readonly method: Method;
  readonly config: object;
}

/**
 * Reads `full,lora:rank=4,rocoft:mode=column:rank=1`: methods separated by commas, each with its settings after colons.
 * Throws `METHOD_UNKNOWN`, `CONFIG_INVALID`.
 */
export function chosenMethods(text: string): ChosenMethod[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map((name) => {
      const [first = "", ...settings] = name.split(":");
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
