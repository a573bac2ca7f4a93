export { architectures } from "./architectures.ts";
export type { Described } from "./architectures.ts";
export { countTrainable } from "./counting.ts";
export type { Count } from "./counting.ts";
export { describeMethod } from "./describeMethod.ts";
export type { ConformanceCase, ConformanceOptions } from "./options.ts";
export { describePlugin } from "./plugins/describePlugin.ts";
export { subject } from "./plugins/options.ts";
export type { NeutralCase, PluginConformanceOptions, RefusedCase } from "./plugins/options.ts";
export { baseWeights, lowRank } from "./plugins/standIns.ts";
export type { Subject } from "./run.ts";
export {
  expectSameFiles,
  expectSameSettings,
  readAdapterConfig,
  readAdapterTensors,
  readTensors,
} from "./adapterFolder.ts";
export { expectSameStart, relativeDifference } from "./compare.ts";
export { describeOnEngines } from "./engines.ts";
export { expectScaledResponse, oneLayer, responses } from "./oneLayer.ts";
export type { OneLayerOptions, ResponsesOptions } from "./oneLayer.ts";
export { describeReference, loadReference, pythonName, readReference, referenceBatch, trainLike } from "./reference.ts";
export type { Reference, ReferenceOptions, TrainLikeOptions } from "./reference.ts";
export { logits, lossProgram, perturb, train } from "./run.ts";
export type { LossProgram } from "./run.ts";
export { batchAt, tinyModel } from "./subjects.ts";
