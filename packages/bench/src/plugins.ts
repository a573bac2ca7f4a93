import { didYouMean, PeftError } from "@peftjs/core";
import type { TrainingPlugin } from "@peftjs/core";
import { galore } from "@peftjs/galore";
import { ist, rst } from "@peftjs/ist";
import { attentionRates } from "@peftjs/train";

/**
 * Every training plug-in that rows of the bench and the command line can use, in the order of their lists.
 * A new plug-in appears everywhere by being added here.
 */
export function registeredPlugins(): readonly TrainingPlugin[] {
  return [ist, rst, galore, attentionRates] as unknown as readonly TrainingPlugin[];
}

/** The registered plug-in of this name. Throws `PLUGIN_UNKNOWN` with near misses. */
export function pluginNamed(name: string): TrainingPlugin {
  const plugins = registeredPlugins();
  const found = plugins.find((plugin) => plugin.name === name);
  if (found !== undefined) return found;
  const names = plugins.map((plugin) => plugin.name);
  throw new PeftError(
    "PLUGIN_UNKNOWN",
    `No training plug-in is called "${name}".${didYouMean(name, names)} Registered: ${names.join(", ")}.`,
  );
}
