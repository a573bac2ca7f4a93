import type { PeftBuilder } from "@peftjs/core";
import { galore } from "@peftjs/galore";
import { ist } from "@peftjs/ist";
import { full } from "@peftjs/method-classic";
import { lora } from "@peftjs/method-lora-family";
import { rocoft } from "@peftjs/method-rocoft";

/** All matrices of the blocks, as they are. */
const blocks = {
  targetRoles: ["query", "key", "value", "attentionOutput", "ffnUp", "ffnGate", "ffnDown"],
} as const;

/**
 * What is trained of a model: rank-8 factors on its usual layers or on all of its blocks, three rows or columns of every layer of the
 * blocks, everything, or the layers of the blocks as they are. `lora-ist`: a quarter of the blocks learns in each step. `galore`: rank
 * 128 of the matrices' gradients; `galore-layerwise`: with one whole gradient alive at a time.
 */
export const METHODS = {
  lora: (model: PeftBuilder) => model.use(lora, { rank: 8, alpha: 16 }),
  "lora-all": (model: PeftBuilder) => model.use(lora, { rank: 8, alpha: 16, targetModules: "all-linear" }),
  rows: (model: PeftBuilder) => model.use(rocoft, { mode: "row", rank: 3 }),
  columns: (model: PeftBuilder) => model.use(rocoft, { mode: "column", rank: 3 }),
  full: (model: PeftBuilder) => model.use(full),
  "lora-ist": (model: PeftBuilder) => model.use(lora, { rank: 8, alpha: 16 }).use(ist),
  blocks: (model: PeftBuilder) => model.use(full, blocks),
  galore: (model: PeftBuilder) => model.use(full, blocks).use(galore, { ...blocks, rank: 128 }),
  "galore-layerwise": (model: PeftBuilder) =>
    model.use(full, blocks).use(galore, { ...blocks, rank: 128, layerwise: true }),
} as const satisfies Record<string, (model: PeftBuilder) => PeftBuilder>;

/** What learns is as large as the blocks' matrices. */
export const DENSE: readonly MethodName[] = ["full", "blocks", "galore", "galore-layerwise"];

export type MethodName = keyof typeof METHODS;

/** Those that tools/reference/step.py knows as well. */
export const IN_PYTHON: readonly MethodName[] = ["lora", "full"];
