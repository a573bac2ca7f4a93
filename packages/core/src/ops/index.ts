export { attention, type AttentionOptions } from "./attention.ts";
export { gelu, geluTanh } from "./gelu.ts";
export { layerNorm } from "./layerNorm.ts";
export { dropout, type DropoutSite } from "./dropout.ts";
export { crossEntropy, meanSquaredError } from "./losses.ts";
export { recompute } from "./recompute.ts";
export { silu } from "./silu.ts";
export { stopGradient, withoutGradient } from "./stopGradient.ts";
