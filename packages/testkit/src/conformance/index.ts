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
