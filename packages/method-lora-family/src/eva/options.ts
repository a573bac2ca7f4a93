import type { WireField } from "@peftjs/core";
import { z } from "zod";

const schema = z.strictObject({
  rho: z.number().min(1).default(2).describe("Largest rank of a layer, as a multiple of `rank`; 1: all layers alike."),
  tau: z
    .number()
    .min(0)
    .max(1)
    .default(0.99)
    .describe("A component has converged when its cosine with the last one is at least this."),
  useLabelMask: z.boolean().default(true).describe("Leave out tokens whose label is labelMaskValue."),
  labelMaskValue: z.int().default(-100).describe("Label of tokens that do not count."),
  whiten: z.boolean().default(false).describe("Divide the rows of A by the square roots of the singular values."),
  adjustScalingFactors: z.boolean().default(true).describe("Keep the scale s the same when a layer's rank changes."),
  maxBatches: z
    .int()
    .positive()
    .default(200)
    .describe("Layers that have not converged after so many batches are taken as they are. Not in the file."),
});

/** Settings of EVA (Paischer et al. 2024); what is left out has its default. */
export type EvaOptions = z.input<typeof schema>;
export const EvaOptions: z.ZodType<EvaOptions, EvaOptions> = schema;

/** Settings with nothing left out. */
export type EvaSettings = z.output<typeof schema>;

export function evaOptions(given: EvaOptions | null): EvaSettings {
  return schema.parse(given ?? {});
}

const keys: readonly (readonly [keyof EvaOptions, string])[] = [
  ["rho", "rho"],
  ["tau", "tau"],
  ["useLabelMask", "use_label_mask"],
  ["labelMaskValue", "label_mask_value"],
  ["whiten", "whiten"],
  ["adjustScalingFactors", "adjust_scaling_factors"],
];

/** `eva_config` of adapter_config.json. */
export const evaWire: WireField = {
  key: "eva_config",
  write: (value) => {
    if (value === null) return null;
    const options = evaOptions(value as EvaOptions);
    return Object.fromEntries(keys.map(([field, key]) => [key, options[field]]));
  },
  read: (json) => {
    const given = json as Readonly<Record<string, unknown>>;
    return Object.fromEntries(keys.flatMap(([field, key]) => (given[key] === undefined ? [] : [[field, given[key]]])));
  },
};
