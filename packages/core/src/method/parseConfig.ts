import { z } from "zod";
import { PeftError } from "../errors.ts";
import { didYouMean } from "../nearMisses.ts";

/** What has a config: a method or a plug-in. */
interface Configurable<Config extends object> {
  readonly name: string;
  readonly config: z.ZodType<Config>;
}

/**
 * Checks a config against the schema of its method or plug-in and fills in its defaults.
 * @throws PeftError `CONFIG_INVALID` with every complaint, and near misses of unknown keys.
 */
export function parseConfig<Config extends object>(owner: Configurable<Config>, input: unknown): Config {
  const result = owner.config.safeParse(input);
  if (result.success) return result.data;
  const known = configFields(owner);
  const hints = result.error.issues.flatMap((issue) =>
    issue.code === "unrecognized_keys" ? issue.keys.map((key) => didYouMean(key, known)) : [],
  );
  throw new PeftError(
    "CONFIG_INVALID",
    `The config of "${owner.name}" is not valid.\n${z.prettifyError(result.error)}${hints.join("")} Fields: ${known.join(", ")}.`,
  );
}

function configFields<Config extends object>({ config }: Configurable<Config>): string[] {
  return config instanceof z.ZodObject ? Object.keys(config.shape) : [];
}
