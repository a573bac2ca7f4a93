import { PeftError } from "../errors.ts";
import { didYouMean } from "../nearMisses.ts";
import type { View } from "./view.ts";

/** Key of the tensor that stands for a base parameter in a view. */
export function keyOf({ keys }: View, name: string): string {
  const key = keys.get(name);
  if (key !== undefined) return key;
  throw new PeftError("PARAMETER_UNKNOWN", `The model has no parameter "${name}".${didYouMean(name, keys.keys())}`);
}

/** Whether a parameter is the same tensor in two views whose values are all frozen. */
export function sameTensor(own: View, view: View, name: string): boolean {
  return !own.tokens.has(name) && own.frozen[keyOf(own, name)] === view.frozen[keyOf(view, name)];
}
