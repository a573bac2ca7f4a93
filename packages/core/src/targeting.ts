import { z } from "zod";

/**
 * Which layers a method attaches to. Used by every method's schema: `z.strictObject({ ...targetFields, rank: … })`.
 * Semantics are those of the Python library: a list names suffixes (whole path, or its tail after a dot), a string is a
 * regular expression over the whole path, "all-linear" is every linear layer except the head.
 */
export const targetFields = {
  targetModules: z
    .union([z.array(z.string()).readonly(), z.string()])
    .nullable()
    .default(null)
    .describe('Suffixes, a regular expression, or "all-linear". Default: the architecture\'s own.'),
  targetRoles: z.array(z.string()).readonly().nullable().default(null).describe('Layer roles, e.g. ["query", "value"]. Instead of targetModules.'),
  excludeModules: z.union([z.array(z.string()).readonly(), z.string()]).nullable().default(null).describe("Suffixes or a regular expression of layers to leave out."),
  layersToTransform: z.union([z.array(z.int()).readonly(), z.int()]).nullable().default(null).describe("Indices of the transformer blocks to adapt. Default: all."),
  modulesToSave: z.array(z.string()).readonly().nullable().default(null).describe("Modules trained in full and saved with the adapter. Default: the task head."),
} as const;

const TargetSchema = z.object(targetFields);
export type TargetConfig = z.infer<typeof TargetSchema>;
