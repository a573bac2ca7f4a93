export { gelu } from "./gelu.ts";
export { layerNorm } from "./layerNorm.ts";
export { dropout } from "./dropout.ts";
export { crossEntropy, meanSquaredError } from "./losses.ts";
