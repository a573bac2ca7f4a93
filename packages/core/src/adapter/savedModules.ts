import { PeftError } from "../errors.ts";
import type { BaseModel } from "../model/model.ts";
import { didYouMean } from "../nearMisses.ts";
import { isInModules } from "../targeting.ts";

/** Heads that the Python library lists for every classification task; absent ones are skipped. */
const OPTIONAL_HEADS: readonly string[] = ["classifier", "score"];

/**
 * Modules trained in full beside a method: the config's `modulesToSave`, or the model's head when it says nothing.
 * @throws PeftError `MODULE_UNKNOWN` for a name that no parameter lies in.
 */
export function savedModules(base: BaseModel, config: object): readonly string[] {
  const wanted = (config as { readonly modulesToSave?: readonly string[] | null }).modulesToSave ?? base.headModules;
  const unique = [...new Set(wanted)];
  return unique.filter((name) => {
    if (parametersIn(base, [name]).length > 0) return true;
    if (OPTIONAL_HEADS.includes(name)) return false;
    const modules = [...base.parameters.keys()].flatMap((key) => key.split(".").slice(0, -1));
    throw new PeftError(
      "MODULE_UNKNOWN",
      `modulesToSave names "${name}", but the model has no such module.${didYouMean(name, modules)}`,
    );
  });
}

/** Parameters that lie in one of the modules. */
export function parametersIn(base: BaseModel, modules: readonly string[]): string[] {
  return [...base.parameters.keys()].filter((key) =>
    isInModules(key.slice(0, Math.max(key.lastIndexOf("."), 0)), modules),
  );
}
