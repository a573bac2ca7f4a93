import { PeftError } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import type { CompiledFunction, Engine, TensorFunction } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { classificationMetrics, regressionMetrics } from "./metrics.ts";
import type { EvaluationBatch, EvaluationPlan, TrainableModel } from "./model.ts";
import { get } from "./optim/tensors.ts";
import { batchWeight } from "./weights.ts";

export interface Evaluation {
  /** Mean loss over all rows; null when the rows carry no labels. */
  readonly loss: number | null;
  /** Row i belongs to row i of the data set: class scores, or one value for regression. Empty for masked tokens. */
  readonly logits: readonly Float32Array[];
  /** Class with the highest score, or the value itself for regression (labels are float32, or there is one score). */
  readonly predictions: readonly number[];
  /** Labels in the order of the data set; null without labels. */
  readonly labels: readonly number[] | null;
  /** `loss`, and accuracy, macroF1, matthews, or pearson, spearman, or maskedAccuracy. Empty without labels. */
  readonly metrics: Readonly<Record<string, number>>;
}

/** A forward-only program, kept for many evaluations of one model. */
export interface Evaluator {
  evaluate(plan: EvaluationPlan): Promise<Evaluation>;
  dispose(): Promise<void>;
}

/** Evaluates once: compiles, runs, disposes. Rows come back in the order of the data set, whatever the plan's batches. */
export async function evaluate(model: TrainableModel, engine: Engine, plan: EvaluationPlan): Promise<Evaluation> {
  const evaluator = createEvaluator(model, engine);
  try {
    return await evaluator.evaluate(plan);
  } finally {
    await evaluator.dispose();
  }
}

/**
 * For repeated evaluations: programs stay compiled until the model's structure changes, and the current parameters are used each
 * time.
 */
export function createEvaluator(model: TrainableModel, engine: Engine): Evaluator {
  let program: CompiledFunction | null = null;
  let structure: string | undefined;
  return {
    evaluate: async (plan) => {
      if (program !== null && structure !== model.structure) {
        await program.dispose();
        program = null;
      }
      structure = model.structure;
      program ??= engine.compile(evaluationStep(model), { constant: ["frozen"] });
      return runEvaluation(model, program, plan);
    },
    dispose: async () => {
      await program?.dispose();
      program = null;
    },
  };
}

/** `{ frozen, trainable, batch }` → `{ results: { logits } }`, and `loss` where labels are given; masked tokens give sums instead. */
function evaluationStep(model: TrainableModel): TensorFunction {
  return ({ frozen = {}, trainable = {}, batch = {} }) => {
    const mode = { training: false, key: tf.tensor1d([0, 0], "int32") };
    const outputs = model.forward({ frozen, trainable }, batch, mode);
    const logits = get(outputs, "logits");
    const results: Record<string, tf.Tensor> = {};
    if (batch["labels"] !== undefined || batch["masked_labels"] !== undefined) {
      results["loss"] = model.base?.loss(outputs, batch) ?? model.loss({ frozen, trainable }, batch, mode);
    }
    if (batch["masked_labels"] === undefined) results["logits"] = logits;
    else results["correct"] = correctTokens(logits, batch["masked_labels"], batch["masked_weights"]);
    return { results };
  };
}

/** Σ wᵢ·[argmax(logitsᵢ) = labelᵢ]. The scores of all tokens over the vocabulary never leave the program. */
function correctTokens(logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor | undefined): tf.Tensor {
  const classes = logits.shape.at(-1) as number;
  const hits = tf.equal(tf.argMax(tf.reshape(logits, [-1, classes]), -1), tf.reshape(labels, [-1]));
  const counted = tf.cast(hits, "float32");
  return tf.sum(weights === undefined ? counted : tf.mul(counted, tf.reshape(weights, [-1])));
}

/** What the rows add up to. */
interface Totals {
  weight: number;
  loss: number;
  correct: number;
  readonly logits: Float32Array[];
  readonly labels: (number | undefined)[];
  labelType: HostTensor["dtype"] | null;
  masked: boolean;
}

async function runEvaluation(
  model: TrainableModel,
  program: CompiledFunction,
  plan: EvaluationPlan,
): Promise<Evaluation> {
  const frozen = model.frozen();
  const trainable = model.trainable();
  const totals: Totals = { weight: 0, loss: 0, correct: 0, logits: [], labels: [], labelType: null, masked: false };
  for (let i = 0; i < plan.batches; i++) {
    const item = plan.batchAt(i);
    const { results = {} } = await program.run({ frozen, trainable, batch: item.batch });
    addBatch(totals, item, results);
  }
  return summarize(totals);
}

function addBatch(totals: Totals, { batch, rows }: EvaluationBatch, results: Named<HostTensor>): void {
  const weight = batchWeight(batch);
  totals.weight += weight;
  if (results["loss"] !== undefined) totals.loss += weight * (results["loss"].data[0] as number);
  if (results["correct"] !== undefined) {
    totals.masked = true;
    totals.correct += results["correct"].data[0] as number;
    return;
  }
  const logits = results["logits"] as HostTensor;
  const labels = batch["labels"];
  const width = logits.data.length / (logits.shape[0] as number);
  rows.forEach((row, i) => {
    if (row < 0) return;
    if (totals.logits[row] !== undefined) {
      throw new PeftError(
        "PLAN_INVALID",
        `The evaluation plan gives row ${row} twice. A plan names each row once and fills up with −1.`,
      );
    }
    totals.logits[row] = Float32Array.from(logits.data.subarray(i * width, (i + 1) * width));
    if (labels !== undefined) totals.labels[row] = labels.data[i];
  });
  if (labels !== undefined) totals.labelType = labels.dtype;
}

function summarize(totals: Totals): Evaluation {
  if (totals.masked) {
    const loss = totals.loss / totals.weight;
    return {
      loss,
      logits: [],
      predictions: [],
      labels: null,
      metrics: { loss, maskedAccuracy: totals.correct / totals.weight },
    };
  }
  for (let row = 0; row < totals.logits.length; row++) {
    if (totals.logits[row] === undefined) {
      throw new PeftError(
        "PLAN_INVALID",
        `The evaluation plan leaves out row ${row} of ${totals.logits.length}. A plan names each row once.`,
      );
    }
  }
  const regression = totals.labelType === "float32" || totals.logits[0]?.length === 1;
  const predictions = totals.logits.map((row) => (regression ? (row[0] as number) : argMax(row)));
  if (totals.labelType === null) return { loss: null, logits: totals.logits, predictions, labels: null, metrics: {} };
  const labels = totals.labels as number[];
  const loss = totals.loss / totals.weight;
  const scores = regression ? regressionMetrics(labels, predictions) : classificationMetrics(labels, predictions);
  return { loss, logits: totals.logits, predictions, labels, metrics: { loss, ...scores } };
}

function argMax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}
