export { parseTrainingConfig, TrainingConfig } from "./config.ts";
export type { TrainingConfigInput } from "./config.ts";
export { Trainer } from "./trainer.ts";
export type { TrainerOptions, TrainingResult } from "./trainerOptions.ts";
export type { Best } from "./checkpoint/checkpoint.ts";
export { epochBatches } from "./epochBatches.ts";
export { createEvaluator, evaluate } from "./evaluate.ts";
export type { Evaluation, Evaluator } from "./evaluate.ts";
export type {
  EndEvent,
  EndReason,
  EpochEvent,
  EvaluateEvent,
  EventName,
  Listener,
  Logger,
  PluginEvent,
  SaveEvent,
  StartEvent,
  StepEvent,
  TrainerEvents,
} from "./events.ts";
export { consoleLogger } from "./log/console.ts";
export { jsonlLogger } from "./log/jsonl.ts";
export { accuracy, classificationMetrics, macroF1, matthews, pearson, regressionMetrics, spearman } from "./metrics.ts";
export type {
  EvaluationBatch,
  EvaluationPlan,
  RunMode,
  TracedParameters,
  TrainableModel,
  TrainingPlan,
} from "./model.ts";
export { adamW } from "./optim/adamw.ts";
export type { AdamWOptions } from "./optim/adamw.ts";
export { sgd } from "./optim/sgd.ts";
export type { SgdOptions } from "./optim/sgd.ts";
export type { ParameterGroupRule } from "./optim/fromConfig.ts";
export { decays } from "./optim/groups.ts";
export type { Optimizer, ParamGroup, ParamGroupRule, Update, UpdateContext } from "./optim/optimizer.ts";
export { clipScale, globalNorm } from "./optim/clip.ts";
export { schedule } from "./schedule.ts";
export type { Schedule, ScheduleName, ScheduleOptions } from "./schedule.ts";
export { initialState } from "./optim/tensors.ts";
export { Stepper } from "./step/stepper.ts";
export type { StepMetrics } from "./step/firstHalf.ts";
export type { StepInput, StepperOptions, StepTensors } from "./step/stepper.ts";
export { attentionRates, AttentionRatesConfig } from "./plugins/attentionRates.ts";
export { generalizationBound } from "./plugins/generalizationBound.ts";
export type { BoundOptions } from "./plugins/generalizationBound.ts";
