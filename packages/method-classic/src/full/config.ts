import { targetFields, targetWire } from "@peftjs/core";
import type { Wire } from "@peftjs/core";
import { z } from "zod";

const { targetModules, targetRoles, excludeModules, layersToTransform, layersPattern, modulesToSave } = targetFields;

/** Settings of full fine-tuning. Without a target every parameter of the model is trained. */
export const FullConfig = z.strictObject({
  targetModules: targetModules.describe(
    'Layers whose weight and bias are trained: suffixes, a regular expression, or "all-linear". Default: everything in the model is trained.',
  ),
  targetRoles,
  excludeModules: excludeModules.describe(
    "Suffixes or a regular expression of layers to leave out: of those that are targeted, else of all linear layers.",
  ),
  layersToTransform: layersToTransform.describe(
    "Indices of the transformer blocks whose layers are trained: of those that are targeted, else of all linear layers.",
  ),
  layersPattern,
  modulesToSave: modulesToSave.describe(
    "With targets: modules trained beside them. Default: the task head. Without targets everything is trained, and this says nothing.",
  ),
});
export type FullConfig = z.infer<typeof FullConfig>;

/** A type of our own: the Python library reads the merged model folder instead. */
export const fullWire: Wire<FullConfig> = {
  peftType: "FULL",
  config: targetWire,
  tensors: {},
  whenSet: ["target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"],
};

/** Whether the config chooses among the layers, so that the rest of the model stays as it is. */
export function isTargeted(config: FullConfig): boolean {
  const { targetModules: names, targetRoles: roles, excludeModules: excluded, layersToTransform: blocks } = config;
  return [names, roles, excluded, blocks, config.layersPattern].some((choice) => choice !== null);
}
