import { z } from "zod";
import { PeftError } from "../errors.ts";
import { didYouMean } from "../nearMisses.ts";
import type { Method } from "./method.ts";

/**
 * Checks a config against the method's schema and fills in its defaults.
 * @throws PeftError `CONFIG_INVALID` with every complaint, and near misses of unknown keys.
 */
export function parseConfig<Config extends object>(method: Method<Config>, input: unknown): Config {
  const result = method.config.safeParse(input);
  if (result.success) return result.data;
  const known = configFields(method);
  const hints = result.error.issues.flatMap((issue) =>
    issue.code === "unrecognized_keys" ? issue.keys.map((key) => didYouMean(key, known)) : [],
  );
  throw new PeftError(
    "CONFIG_INVALID",
    `The config of method "${method.name}" is not valid.\n${z.prettifyError(result.error)}${hints.join("")} Fields: ${known.join(", ")}.`,
  );
}

/** Names of a method's config fields. */
function configFields<Config extends object>(method: Method<Config>): string[] {
  return method.config instanceof z.ZodObject ? Object.keys(method.config.shape) : [];
}
