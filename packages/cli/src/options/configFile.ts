import { readFileSync } from "node:fs";
import { didYouMean, PeftError } from "@peftjs/core";
import { parse } from "yaml";
import { camel } from "./fields.ts";

/**
 * Reads `--config`: a YAML or JSON file with the flags' names as keys (`learning-rate` or `learningRate`).
 * Throws `CONFIG_NOT_FOUND`, `CONFIG_INVALID`.
 */
export function readConfigFile(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new PeftError(
      "CONFIG_NOT_FOUND",
      `Cannot read the configuration file "${path}". Check the path given to --config.`,
      { cause },
    );
  }
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    throw new PeftError(
      "CONFIG_INVALID",
      `"${path}" is neither YAML nor JSON: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new PeftError(
      "CONFIG_INVALID",
      `"${path}" must hold names and values (for example "rank: 8"), got ${Array.isArray(value) ? "a list" : typeof value}.`,
    );
  }
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [camel(key), entry]));
}

/** Throws `CONFIG_INVALID` for a key that no flag has. */
export function checkKeys(path: string, keys: readonly string[], known: readonly string[]): void {
  const unknown = keys.find((key) => !known.includes(key));
  if (unknown === undefined) return;
  throw new PeftError(
    "CONFIG_INVALID",
    `"${path}" has an unknown key "${unknown}".${didYouMean(unknown, known)} Known: ${known.join(", ")}.`,
  );
}
