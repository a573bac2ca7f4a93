import * as tf from "@tensorflow/tfjs-core";
import { ELEMENTWISE } from "./elementwise.ts";
import { INDEXING } from "./indexing.ts";
import { LAYERS } from "./layers.ts";
import { PRODUCTS } from "./products.ts";
import { REDUCTIONS } from "./reduction.ts";
import { STRUCTURE } from "./structure.ts";
import { ZERO } from "./zero.ts";

/**
 * The gradients that tfjs 4.22 lacks or has wrong.
 *
 * | kernel | in tfjs | here |
 * | --- | --- | --- |
 * | Maximum, Minimum, SquaredDifference | not summed over broadcast axes: an error | summed; of two equal operands the first gets all |
 * | Prelu | ∂x not summed over broadcast axes | summed |
 * | Add, Sub, Multiply, RealDiv, Mod, Atan2 | an error where a size of 1 is broadcast to 0 | summed |
 * | Pow | NaN for 0⁰; the error above | ∂a = 0 for an exponent of 0 |
 * | FloorDiv | that of a/b | 0 |
 * | Abs | −1 at 0 | 0 at 0 |
 * | Cast | passes through casts to int32 and bool | 0 there |
 * | Select | ∂y·0 is NaN where ∂y is not finite | chosen by the condition |
 * | Max, Min | every one of n equal extremes gets all, n times the derivative | they share it |
 * | Prod | calls tensor methods that nobody registers; negative axes fail | ∂y·Πⱼ≠ₖ xⱼ, zeros included |
 * | Cumsum | transposed unless the axis is the last | the sum from the other end |
 * | BatchMatMul | not summed over broadcast batch axes | summed; a shared right factor takes one product |
 * | GatherV2 | batchDims: tensor methods; ∂indices has no float type | added up by row; ∂indices = 0 |
 * | UnsortedSegmentSum | an error for segments that do not exist | 0 for their rows; ∂segmentIds = 0 |
 * | Tile | an error above rank 4, a sum of slices below | one sum |
 * | SplitV, Unpack | an error for a split into one | joined |
 * | MirrorPad | the border's part is missing | the border is folded back |
 * | AvgPool, AvgPool3D | windows across a border divide by the whole window | by the elements that exist, as the mean does |
 * | FusedBatchNorm | an error for statistics that broadcast at full rank | summed |
 * | GreaterEqual, ArgMax, ArgMin | an error for int32 inputs | 0 |
 * | Equal, NotEqual, Greater, Less, LessEqual, Logical*, BitwiseAnd, All, Any, SearchSorted | none | 0 |
 * | Einsum, Cumprod, TopK, Diag, StridedSlice, DepthToSpace, GatherNd, ScatterNd, TensorScatterUpdate | none | added |
 *
 * Kernels that are not named keep the gradient of tfjs. Images, complex numbers, strings and sparse tensors are left as they are.
 */
export const GRADIENTS: readonly tf.GradConfig[] = [
  ...ELEMENTWISE,
  ...REDUCTIONS,
  ...STRUCTURE,
  ...INDEXING,
  ...PRODUCTS,
  ...LAYERS,
  ...ZERO,
];

/** Puts `GRADIENTS` in the place of tfjs's own, for every backend. A second call changes nothing. */
export function registerGradients(): void {
  for (const config of GRADIENTS) {
    const known = tf.getGradient(config.kernelName);
    if (known === config) continue;
    if (known !== undefined) tf.unregisterGradient(config.kernelName);
    tf.registerGradient(config);
  }
}
