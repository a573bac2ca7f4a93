import { FrozenSettings } from "@peftjs/bench";
import { PeftError } from "@peftjs/core";
import type { FrozenOptions } from "@peftjs/models";
import { z } from "zod";
import { fieldFlags, kebab, parseFields, readValues } from "./fields.ts";

const { type, embeddings, backward, exclude, cache } = FrozenSettings.shape;

/** How a command holds the frozen weights of the base model. */
export const FrozenFields = z.strictObject({
  frozen: type.default("float32"),
  frozenEmbeddings: embeddings,
  frozenExclude: exclude,
  frozenBackward: backward,
  frozenCache: cache,
});
export type FrozenFields = z.infer<typeof FrozenFields>;

/** The same as the command line gives it. */
export type FrozenFlags = Readonly<Partial<Record<keyof FrozenFields, string>>>;

export function readFrozen(flags: FrozenFlags): FrozenOptions {
  return frozenOf(parseFields(FrozenFields, readValues(flags, fieldFlags(FrozenFields))));
}

/** Throws `CONFIG_INVALID` for what says something of eight bits where nothing is held in them. */
export function frozenOf(fields: FrozenFields): FrozenOptions {
  const { frozen, frozenEmbeddings, frozenExclude, frozenBackward, frozenCache } = fields;
  const stray = (["frozenExclude", "frozenBackward", "frozenCache"] as const).find(
    (name) => fields[name] !== undefined,
  );
  if (stray !== undefined && frozen !== "int8" && frozenEmbeddings !== "int8") {
    throw new PeftError(
      "CONFIG_INVALID",
      `--${kebab(stray)} is a setting of weights in int8, but they are held in ${frozen}. Add --frozen int8, or leave it out.`,
    );
  }
  return {
    type: frozen,
    ...(frozenEmbeddings === undefined ? {} : { embeddings: frozenEmbeddings }),
    ...(frozenExclude === undefined ? {} : { exclude: frozenExclude }),
    ...(frozenBackward === undefined ? {} : { backward: frozenBackward }),
    ...(frozenCache === undefined ? {} : { cache: frozenCache }),
  };
}
