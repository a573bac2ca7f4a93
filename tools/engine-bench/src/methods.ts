import { peft } from "@peftjs/core";
import type { BaseModel, PeftModel } from "@peftjs/core";
import { full } from "@peftjs/method-classic";
import { lora } from "@peftjs/method-lora-family";
import { rocoft } from "@peftjs/method-rocoft";

/**
 * What is trained of a model: rank-8 factors on its usual layers or on all of its blocks, three rows or columns of every layer of the
 * blocks, or everything.
 */
export const METHODS = {
  lora: (base: BaseModel): Promise<PeftModel> => peft(base).use(lora, { rank: 8, alpha: 16 }).apply(),
  "lora-all": (base: BaseModel): Promise<PeftModel> =>
    peft(base).use(lora, { rank: 8, alpha: 16, targetModules: "all-linear" }).apply(),
  rows: (base: BaseModel): Promise<PeftModel> => peft(base).use(rocoft, { mode: "row", rank: 3 }).apply(),
  columns: (base: BaseModel): Promise<PeftModel> => peft(base).use(rocoft, { mode: "column", rank: 3 }).apply(),
  full: (base: BaseModel): Promise<PeftModel> => peft(base).use(full).apply(),
} as const;

export type MethodName = keyof typeof METHODS;

/** Those that tools/reference/step.py knows as well. */
export const IN_PYTHON: readonly MethodName[] = ["lora", "full"];
