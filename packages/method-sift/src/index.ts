export { sift } from "./method.ts";
export { SiftConfig } from "./config.ts";
export { budgetOf } from "./budget.ts";
export type { Budget } from "./budget.ts";
export { gradientShare } from "./gradientShare.ts";
export { largest } from "./largest.ts";
export { scatter, scatterWeight, sparseProduct } from "./layer.ts";
export type { Entries } from "./layer.ts";
