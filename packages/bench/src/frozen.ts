import { FROZEN_TYPES } from "@peftjs/models";
import type { Frozen } from "@peftjs/models";
import { z } from "zod";

const frozenType = z.enum(FROZEN_TYPES);

/** `FrozenOptions` of @peftjs/models as files and the command line give them. */
export const FrozenSettings = z.strictObject({
  type: frozenType.describe(
    "How frozen weights are held in memory: float32; float16 or bfloat16, half of it, computed in float32; auto, as in the file; int8, linear layers in a quarter of it and with integer products, which are faster and one to two per cent less exact in each layer.",
  ),
  embeddings: frozenType
    .describe("The same for tables of embeddings. Default: float32 with int8, else as the rest.")
    .exactOptional(),
  backward: z
    .enum(["float32", "int8"])
    .describe("Of int8: how gradients are multiplied with the weights; float32 is slower and exact. Default: int8.")
    .exactOptional(),
  exclude: z
    .array(z.string())
    .describe("Of int8: layers that stay float32, by parts of their module paths: query, output.dense, layer.0.")
    .exactOptional(),
  cache: z
    .string()
    .describe("Of int8: a folder that keeps the weights, so that later starts are faster.")
    .exactOptional(),
});

/** A type alone stands for options that say nothing else. */
export const FrozenSetting = z.union([frozenType, FrozenSettings]);
export type FrozenSetting = z.infer<typeof FrozenSetting>;

/** In the shortest form, so that runs that hold weights alike have equal specs. */
export function shortest(frozen: FrozenSetting): FrozenSetting {
  return typeof frozen === "object" && Object.keys(frozen).length === 1 ? frozen.type : frozen;
}

export function typeOf(frozen: Frozen): (typeof FROZEN_TYPES)[number] {
  return typeof frozen === "string" ? frozen : frozen.type;
}
