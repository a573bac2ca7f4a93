import { crossEntropy, meanSquaredError, PeftError, sizeOf } from "@peftjs/core";
import type { Architecture, BaseModel, Head, Named, ParameterSpec, StoredTensor } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";

export interface ModelParts {
  readonly architecture: Architecture;
  readonly configJson: Readonly<Record<string, unknown>>;
  readonly head: Head;
  readonly name: string;
  /** One tensor per parameter that is not tied to another. */
  readonly parameters: ReadonlyMap<string, StoredTensor>;
}

/**
 * Joins an architecture, a config and weights. A tied parameter is listed under its own name too, with the very same tensor.
 * @throws PeftError `SHAPE_MISMATCH`, `WEIGHTS_MISSING` when they do not fit.
 */
export function createModel({ architecture, configJson, head, name, parameters }: ModelParts): BaseModel {
  const config = architecture.parseConfig(configJson);
  const { specs, sites, headModules } = layoutOf(architecture, configJson, head);
  const all = new Map<string, StoredTensor>();
  for (const spec of specs) all.set(spec.name, checked(spec, parameters.get(spec.tiedTo ?? spec.name)));
  return {
    name,
    configJson,
    modelType: architecture.modelType,
    head,
    parameters: all,
    sites,
    defaultTargets: architecture.defaultTargets,
    headModules,
    forward: (f, batch) => architecture.forward(f, config, head, batch),
    loss: (outputs, batch) => headLoss(head, outputs, batch),
  };
}

/** What an architecture says of a model before it has weights. */
export interface ModelLayout extends Pick<BaseModel, "sites" | "headModules"> {
  readonly specs: readonly ParameterSpec[];
}

export function layoutOf(architecture: Architecture, configJson: ModelParts["configJson"], head: Head): ModelLayout {
  const config = architecture.parseConfig(configJson);
  return {
    specs: architecture.parameters(config, head),
    sites: architecture.sites(config, head),
    headModules: architecture.headModules(config, head),
  };
}

/** The parameters that have memory of their own. */
export function ownParameters(specs: readonly ParameterSpec[]): ParameterSpec[] {
  return specs.filter((spec) => spec.tiedTo === undefined);
}

/** Number of values of a model, tied tensors counted once: from shapes alone. */
export function countParameters(specs: readonly ParameterSpec[]): number {
  return ownParameters(specs).reduce((sum, spec) => sum + sizeOf(spec.shape), 0);
}

function checked(spec: ParameterSpec, tensor: StoredTensor | undefined): StoredTensor {
  const shape = `[${spec.shape.join(", ")}]`;
  if (tensor === undefined)
    throw new PeftError(
      "WEIGHTS_MISSING",
      `The model needs the parameter ${spec.tiedTo ?? spec.name} of shape ${shape}, which is not given.`,
    );
  if (tensor.shape.join() === spec.shape.join()) return tensor;
  throw new PeftError(
    "SHAPE_MISMATCH",
    `The parameter ${spec.name} has shape [${tensor.shape.join(", ")}]; config.json asks for ${shape}.`,
  );
}

/**
 * Mean loss of a batch, rows weighted by `row_weights` float32 [B] where present.
 * sequenceClassification: cross-entropy of `labels` int32 [B]. regression: squared error of `labels` float32 [B].
 * maskedLM: cross-entropy of `masked_labels` int32 [M] weighted by `masked_weights` when the logits are those of
 * `masked_positions`, else of `labels` int32 [B, T], where negative ones (−100) do not count.
 */
function headLoss(head: Head, outputs: Named<tf.Tensor>, batch: Named<tf.Tensor>): tf.Scalar {
  const weights = batch["row_weights"] as tf.Tensor1D | undefined;
  switch (head.kind) {
    case "sequenceClassification":
      return crossEntropy(need(outputs, "logits") as tf.Tensor2D, need(batch, "labels") as tf.Tensor1D, weights);
    case "regression": {
      const predictions = need(outputs, "logits");
      return meanSquaredError(
        tf.reshape(predictions, [predictions.size]),
        need(batch, "labels") as tf.Tensor1D,
        weights,
      );
    }
    case "maskedLM":
      return maskedLoss(need(outputs, "logits"), batch);
    case "preTraining":
      return preTrainingLoss(outputs, batch);
    case "none":
      throw new PeftError(
        "HEAD_MISSING",
        'The bare model has no loss: load it with a head, e.g. `head: "sequenceClassification"`.',
      );
  }
}

/** Masked LM, plus the cross-entropy of `next_sentence_label` int32 [B] where the batch has it. */
function preTrainingLoss(outputs: Named<tf.Tensor>, batch: Named<tf.Tensor>): tf.Scalar {
  const masked = maskedLoss(need(outputs, "logits"), batch);
  const labels = batch["next_sentence_label"] as tf.Tensor1D | undefined;
  if (labels === undefined) return masked;
  return tf.add(masked, crossEntropy(need(outputs, "seq_relationship_logits") as tf.Tensor2D, labels));
}

function maskedLoss(logits: tf.Tensor, batch: Named<tf.Tensor>): tf.Scalar {
  if (batch["masked_positions"] !== undefined) {
    return crossEntropy(
      logits as tf.Tensor2D,
      need(batch, "masked_labels") as tf.Tensor1D,
      batch["masked_weights"] as tf.Tensor1D | undefined,
    );
  }
  const labels = need(batch, "labels");
  const flat = tf.reshape(labels, [labels.size]) as tf.Tensor1D;
  const counted = tf.cast(tf.greaterEqual(flat, tf.scalar(0, "int32")), "float32") as tf.Tensor1D;
  const rows = tf.reshape(logits, [labels.size, logits.shape.at(-1) as number]) as tf.Tensor2D;
  return crossEntropy(rows, flat, counted);
}

function need(tensors: Named<tf.Tensor>, name: string): tf.Tensor {
  const found = tensors[name];
  if (found === undefined)
    throw new PeftError("BATCH_INCOMPLETE", `The batch needs \`${name}\`; it has ${Object.keys(tensors).join(", ")}.`);
  return found;
}
