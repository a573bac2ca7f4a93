/** For sibling packages only: no promise of stability. */
export { after } from "./ops/after.ts";
export { composite } from "./ops/composite.ts";
export { dropThreshold } from "./ops/dropout.ts";
export { blankGenerator } from "./random.ts";
export { activateCpu, ensureTfjs, onHost } from "./gradients.ts";
export { toHost, toTensor } from "./hostTensors.ts";
export { hostRunner } from "./runner.ts";
