import type { Warn } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import type { Best } from "./checkpoint/checkpoint.ts";
import type { TrainingConfigInput } from "./config.ts";
import type { Evaluation } from "./evaluate.ts";
import type { EndReason, Logger } from "./events.ts";
import type { EvaluationPlan, TrainableModel, TrainingPlan } from "./model.ts";
import type { ParameterGroupRule } from "./optim/fromConfig.ts";
import type { Optimizer } from "./optim/optimizer.ts";

export interface TrainerOptions {
  readonly model: TrainableModel;
  readonly engine: Engine;
  readonly train: TrainingPlan;
  /** Rows to evaluate on; without them nothing is evaluated. */
  readonly evaluation?: EvaluationPlan | undefined;
  readonly config?: TrainingConfigInput;
  /** Instead of the one that the config names. It decides about groups itself. */
  readonly optimizer?: Optimizer;
  /** Goes before what the model's methods say about their parameters. */
  readonly paramGroups?: ParameterGroupRule;
  readonly loggers?: readonly Logger[];
  /** Metrics of an evaluation beyond the built-in ones. */
  readonly metrics?: (evaluation: Evaluation) => Readonly<Record<string, number>>;
  /** Receives what is worth knowing although nothing failed. Default: the console. */
  readonly onWarning?: Warn;
  /** Ends the run after the current step, with a checkpoint. */
  readonly signal?: AbortSignal;
}

export interface TrainingResult {
  /** Optimizer steps done, those before a resume included. */
  readonly steps: number;
  readonly reason: EndReason;
  /** Mean loss of the last step's batches. */
  readonly loss: number | null;
  /** Null without evaluation. */
  readonly best: Best | null;
  /** Metrics of the last evaluation. */
  readonly metrics: Readonly<Record<string, number>> | null;
}
