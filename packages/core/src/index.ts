export { PeftError } from "./errors.ts";
export { cloneTensor, float32, int32, sizeOf, zeros } from "./tensors.ts";
export type {
  DType,
  HalfTensor,
  HalfType,
  HostTensor,
  Int8Tensor,
  Named,
  ProductType,
  StoredTensor,
} from "./tensors.ts";
export { isHalf } from "./halves.ts";
export { inputScales, isInt8, quantize } from "./int8.ts";
export type { NormValues, QuantizeOptions } from "./int8.ts";
export { narrow, storedLike, widen } from "./stored.ts";
export { createGenerator, kaimingUniform } from "./random.ts";
export type { Generator, GeneratorState } from "./random.ts";
export { layerParameters, PROMPT, weightShape } from "./model/site.ts";
export type { LayerSite, PromptShape, SiteNorm, SitePart, SiteRole } from "./model/site.ts";
export type {
  Architecture,
  AttentionInputs,
  AttentionSettings,
  BaseModel,
  Forward,
  Head,
  Initializer,
  ParameterSpec,
  VirtualTokens,
} from "./model/model.ts";
export {
  attention,
  crossEntropy,
  dropout,
  gelu,
  geluTanh,
  layerNorm,
  meanSquaredError,
  recompute,
  silu,
  stopGradient,
} from "./ops/index.ts";
export type { AttentionOptions, DropoutSite } from "./ops/index.ts";
export { defineMethod, quantizedBase } from "./method/method.ts";
export type * from "./method/method.ts";
export { defineInterchange } from "./method/interchange.ts";
export type { Interchange } from "./method/interchange.ts";
export { sparseFile, sparseForm, sparseLayers } from "./method/sparseFile.ts";
export type { SparseFileConfig, SparseFileOptions, SparseLayer } from "./method/sparseFile.ts";
export { rowCounter } from "./method/rowCounter.ts";
export type { Plugins } from "./plugin/plugins.ts";
export { defineTrainingPlugin } from "./plugin/plugin.ts";
export type {
  AttachedPlugin,
  PluginContext,
  PluginLossOptions,
  PluginRecord,
  PluginRun,
  PluginTools,
  StepChoice,
  TrainableParameter,
  TrainingPlugin,
} from "./plugin/plugin.ts";
export type { ParameterRule, RefreshContext, RuleContext, RuleUpdate, TensorSpec } from "./plugin/parameterRule.ts";
export { parseConfig } from "./method/parseConfig.ts";
export { MethodRegistry } from "./method/registry.ts";
export type { Reader } from "./method/registry.ts";
export {
  isBias,
  isInModules,
  listTargets,
  matchesTargets,
  patternValue,
  resolveTargets,
  targetFields,
  targetWire,
} from "./targeting.ts";
export type { TargetConfig, TargetContext } from "./targeting.ts";
export type { AdaptedLayer, Adapter, Override } from "./adapter/adapter.ts";
export { tokenFields } from "./adapter/tokens.ts";
export type { TokenRows } from "./adapter/tokens.ts";
export type { TrackTensors } from "./adapter/tracking.ts";
export { peft } from "./peft.ts";
export type { PeftBuilder, UseOptions } from "./peft.ts";
export { PeftModel } from "./peftModel.ts";
export type { CalibrationData } from "./adapter/calibrate.ts";
export type { TensorRunner } from "./runner.ts";
export type {
  AttachOptions,
  AttachPluginOptions,
  ForwardOptions,
  MergeOptions,
  ModelTensors,
  ResponseKind,
  SetActiveOptions,
  UnmergeOptions,
} from "./modelOptions.ts";
export { formatTrainableReport } from "./report.ts";
export type { AdapterSize, TrainableReport } from "./report.ts";
export type { LayerStatus, ModelStatus, RequiresGrad } from "./status.ts";
export { didYouMean, nearMisses } from "./nearMisses.ts";
export { readJson, readJsonObject, readText, writeFileAtomic, writeFolderAtomic } from "./files.ts";
export { openSafetensors, SafetensorsFile } from "./safetensors/read.ts";
export type { TensorSource } from "./safetensors/read.ts";
export type { TensorInfo } from "./safetensors/header.ts";
export { writeSafetensors } from "./safetensors/write.ts";
export type { WriteSafetensorsOptions } from "./safetensors/write.ts";
export { loadAdapter, saveAdapter } from "./adapter/files.ts";
export type { LoadAdapterOptions, SaveAdapterOptions } from "./adapter/files.ts";
export { combineAdapters } from "./adapter/combine.ts";
export type { CombineAdaptersOptions } from "./adapter/combine.ts";
export { hotSwapAdapter } from "./adapter/hotSwap.ts";
export type { HotSwapOptions } from "./adapter/hotSwap.ts";
export type { LoadReport, ReadAdapterOptions } from "./adapter/read.ts";
export type { Warn } from "./warnings.ts";
export { matmul, matrix, transpose } from "./linalg/matrix.ts";
export type { HostMatrix } from "./linalg/matrix.ts";
export { qr } from "./linalg/qr.ts";
export type { QrOptions } from "./linalg/qr.ts";
export { svd } from "./linalg/svd.ts";
export type { Svd } from "./linalg/svd.ts";
export { largestEigenPairs } from "./linalg/symmetricEigen.ts";
export type { EigenPairs } from "./linalg/symmetricEigen.ts";
export { truncatedSvd } from "./linalg/truncatedSvd.ts";
export type { TruncatedSvdOptions } from "./linalg/truncatedSvd.ts";
export { whitening } from "./linalg/whitening.ts";
export type { Whitening } from "./linalg/whitening.ts";
