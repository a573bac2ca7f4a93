/** For sibling packages only: no promise of stability. */
export { findAdapter } from "./adapter/names.ts";
export { after } from "./ops/after.ts";
export { gate } from "./ops/gate.ts";
export { composite } from "./ops/composite.ts";
export { dropThreshold } from "./ops/dropout.ts";
export { blankGenerator } from "./random.ts";
export { activateCpu, ensureTfjs, gradientsOf, onHost } from "./gradients.ts";
export { toHost, toTensor } from "./hostTensors.ts";
export { hostRunner } from "./runner.ts";
export { printWarning } from "./warnings.ts";
