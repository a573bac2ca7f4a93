export { tol, worstDifference } from "./close.ts";
export type { Comparable, Difference, Tolerance } from "./close.ts";
export { compiledEngine, eagerEngine } from "./engines.ts";
export { scratchFolders } from "./folders.ts";
export { compareAllClose, installMatchers } from "./matchers.ts";
export { gradientCheck } from "./gradientCheck.ts";
export type { GradientCheckOptions } from "./gradientCheck.ts";
export { linearSite } from "./sites.ts";
export { useCpuBackend } from "./tfjs.ts";
