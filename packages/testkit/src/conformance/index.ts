export { architectures } from "./architectures.ts";
export type { Described } from "./architectures.ts";
export { countTrainable } from "./counting.ts";
export type { Count } from "./counting.ts";
export { describeMethod } from "./describeMethod.ts";
export type { ConformanceCase, ConformanceOptions } from "./options.ts";
export {
  describeReference,
  loadReference,
  readReference,
  readTensors,
  referenceBatch,
  relativeDifference,
  trainLike,
} from "./reference.ts";
export type { Reference, ReferenceOptions } from "./reference.ts";
