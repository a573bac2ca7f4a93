import { COMPOSITES } from "./composites.ts";
import type { KernelDefinition } from "./definition.ts";
import { ELEMENTWISE } from "./elementwise.ts";
import { INDEXING } from "./indexing.ts";
import { MATMUL } from "./matmul.ts";
import { REDUCTIONS } from "./reduction.ts";
import { STRUCTURE } from "./structure.ts";

/** Every kernel that can be compiled, by name. */
export const KERNELS: ReadonlyMap<string, KernelDefinition> = new Map(
  [...ELEMENTWISE, ...REDUCTIONS, ...STRUCTURE, ...INDEXING, ...MATMUL, ...COMPOSITES].map((definition) => [
    definition.name,
    definition,
  ]),
);
