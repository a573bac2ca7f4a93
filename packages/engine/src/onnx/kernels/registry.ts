import { BLOCKS } from "./blocks.ts";
import { COMPOSITES } from "./composites.ts";
import { CONVOLUTION } from "./convolution.ts";
import type { KernelDefinition } from "./definition.ts";
import { DILATION } from "./dilation.ts";
import { ELEMENTWISE } from "./elementwise.ts";
import { FUSED } from "./fused.ts";
import { GENERATING } from "./generating.ts";
import { INDEXING } from "./indexing.ts";
import { INTEGER_PRODUCT } from "./integerProduct.ts";
import { MATMUL } from "./matmul.ts";
import { NORMALIZATION } from "./normalization.ts";
import { POOLING } from "./pooling.ts";
import { ORDERING } from "./ordering.ts";
import { PADDING } from "./padding.ts";
import { REDUCTIONS } from "./reduction.ts";
import { SCATTERING } from "./scattering.ts";
import { STRUCTURE } from "./structure.ts";
import { WIDENING } from "./widening.ts";

const kernels = new Map<string, KernelDefinition>(
  [
    ...ELEMENTWISE,
    ...REDUCTIONS,
    ...STRUCTURE,
    ...PADDING,
    ...BLOCKS,
    ...GENERATING,
    ...ORDERING,
    ...SCATTERING,
    ...INDEXING,
    ...MATMUL,
    ...INTEGER_PRODUCT,
    ...COMPOSITES,
    ...CONVOLUTION,
    ...DILATION,
    ...FUSED,
    ...NORMALIZATION,
    ...POOLING,
    ...WIDENING,
  ].map((definition) => [definition.name, definition]),
);

/** Every kernel that can be compiled, by name. */
export const KERNELS: ReadonlyMap<string, KernelDefinition> = kernels;

/** Adds or replaces a kernel; null removes it. For `registerLowering` only. */
export function setKernel(name: string, definition: KernelDefinition | null): void {
  if (definition === null) kernels.delete(name);
  else kernels.set(name, definition);
}
