export { attention, type AttentionOptions } from "./attention.ts";
export { gelu } from "./gelu.ts";
export { layerNorm } from "./layerNorm.ts";
export { dropout, type DropoutSite } from "./dropout.ts";
export { crossEntropy, meanSquaredError } from "./losses.ts";
export { recompute } from "./recompute.ts";
