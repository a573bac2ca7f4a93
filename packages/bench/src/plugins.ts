import type { AttachPluginOptions, TrainingPlugin } from "@peftjs/core";
import { galore } from "@peftjs/galore";
import { ist, rst } from "@peftjs/ist";
import { attentionRates } from "@peftjs/train";
import { unknownName } from "./unknownName.ts";

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
  const known = plugins.map((plugin) => plugin.name);
  throw unknownName({ code: "PLUGIN_UNKNOWN", what: "training plug-in", name, known });
}

/** The registered plug-ins of a row, to be attached: configs by name. Throws `PLUGIN_UNKNOWN`. */
export function pluginsOf(configs: Readonly<Record<string, object>>): AttachPluginOptions<object>[] {
  return Object.entries(configs).map(([name, config]) => ({ plugin: pluginNamed(name), config }));
}
