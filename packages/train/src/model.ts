import type {
  HostTensor,
  Named,
  ParameterGroup,
  Plugins,
  ResponseKind,
  StoredTensor,
  TrackTensors,
} from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";

/** Parameters inside a traced function. */
export interface TracedParameters {
  readonly frozen: Named<tf.Tensor>;
  readonly trainable: Named<tf.Tensor>;
}

export interface RunMode {
  readonly training: boolean;
  /** int32 [2]: seed of the run and number of the batch. Dropout draws from it. */
  readonly key: tf.Tensor1D;
  /** The model's blocks keep their inputs alone for the backward pass and run again there. */
  readonly recompute?: boolean;
  /** Index of the first transformer block that learns: nothing before it gets a gradient. Default: 0. */
  readonly learnsFrom?: number;
  /** What the batch's `response_scale`, float32 [blocks], multiplies. Default: "method". */
  readonly response?: ResponseKind;
}

/** What the trainer needs of a model; `PeftModel` of core has it. */
export interface TrainableModel {
  /** Weights that the run does not change. */
  frozen(): Named<StoredTensor>;
  /** Weights that the run changes. */
  trainable(): Named<HostTensor>;
  setTrainable(values: Named<HostTensor>): void;
  /** Traced: `logits` and whatever else the architecture returns. */
  forward(parameters: TracedParameters, batch: Named<tf.Tensor>, mode: RunMode): Named<tf.Tensor>;
  /** Traced: the loss that is minimised, penalties included. */
  loss(parameters: TracedParameters, batch: Named<tf.Tensor>, mode: RunMode): tf.Scalar;
  /** Traced: the task's loss from what `forward` returned, so that an evaluation runs the model once. */
  readonly base?: { loss(outputs: Named<tf.Tensor>, batch: Named<tf.Tensor>): tf.Scalar };
  /** Changes when a program traced earlier no longer fits (another adapter is active, say). */
  readonly structure?: string;
  /** Traced: the penalties that `loss` holds while training, reported apart. */
  penalties?(parameters: TracedParameters): readonly tf.Scalar[];
  /** What steers the run besides the options. */
  readonly plugins?: Plugins;
  /** How a parameter learns otherwise than the rest. */
  parameterGroup?(name: string): ParameterGroup;
  /** What is kept from step to step besides parameters: live tensors. */
  state?(): Named<HostTensor>;
  setState?(values: Named<HostTensor>): void;
  /** Whether `track` is to run between an update and `afterStep`. */
  readonly tracks?: boolean;
  /** Traced: the state that a step changes, from updated parameters and the step's clipped gradients. */
  track?(tensors: TrackTensors): Named<tf.Tensor>;
  /** Host work between steps; `step` counts from 1, `totalSteps` is null when nobody knows. */
  afterStep?(step: number, totalSteps: number | null): void | Promise<void>;
}

/** Batches for training. The order is a pure function of the index: that is what makes a resumed run exact. */
export interface TrainingPlan {
  readonly batchesPerEpoch: number;
  /** Batch `index` of the run, counted from 0 through all epochs. */
  batchAt(index: number): Named<HostTensor>;
  /** The same rows in batches and an order of their own, for plug-ins that look at training data. Default: this plan. */
  divided?(options: { readonly rows: number; readonly seed: number }): TrainingPlan;
}

/** Rows to evaluate, each exactly once. */
export interface EvaluationPlan {
  readonly batches: number;
  batchAt(index: number): EvaluationBatch;
}

export interface EvaluationBatch {
  readonly batch: Named<HostTensor>;
  /** Number of each row in the data set; −1 for a row that only fills up the batch. */
  readonly rows: readonly number[];
}
