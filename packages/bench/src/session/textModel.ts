import type { BaseModel } from "@peftjs/core";
import { createBatchPlan, createEvaluationBatches, encodeRows } from "@peftjs/data";
import type { BatchPlan, DataRow, EvaluationBatches, Example, LabelScheme, PlanOptions } from "@peftjs/data";
import { fromPretrained, loadTokenizer } from "@peftjs/models";
import type { Tokenizer, Frozen } from "@peftjs/models";

/** Each length costs one compiled program; steps of a half or a third waste little on padding. */
const BUCKETS: readonly number[] = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];

/** A model, its tokenizer, and what its outputs mean. */
export interface TextModel {
  readonly base: BaseModel;
  readonly tokenizer: Tokenizer;
  readonly scheme: LabelScheme;
  /** Tokens of the longest text; longer ones are cut. */
  readonly maxLength: number;
}

export interface OpenTextModelOptions {
  readonly folder: string;
  readonly scheme: LabelScheme;
  /** Upper bound; the model's own limit counts where it is smaller. Default: the model's. */
  readonly maxLength?: number | undefined;
  /** Seed of a head that the folder lacks. */
  readonly seed?: number;
  /** Start with a fresh head where the folder's has another number of outputs. */
  readonly newHead?: boolean;
  /** How weights are held in memory. Default: float32. */
  readonly frozen?: Frozen | undefined;
}

/** Reads a model folder with a head for the labels. Throws `LABEL_COUNT_MISMATCH` when the folder's own head has others. */
export async function openTextModel({
  folder,
  scheme,
  maxLength,
  seed = 0,
  newHead = false,
  frozen = "float32",
}: OpenTextModelOptions): Promise<TextModel> {
  const tokenizer = await loadTokenizer(folder);
  const head =
    scheme.kind === "regression"
      ? ({ kind: "regression" } as const)
      : ({ kind: "sequenceClassification", labels: scheme.labels } as const);
  const base = await fromPretrained(folder, { head, seed, ignoreMismatchedSizes: newHead, frozen });
  return { base, tokenizer, scheme, maxLength: Math.min(maxLength ?? tokenizer.maxLength, tokenizer.maxLength) };
}

/** What the head's outputs mean, for models that say it themselves. Null for other heads. */
export function schemeOf({ head }: Pick<BaseModel, "head">): LabelScheme | null {
  if (head.kind === "regression") return { kind: "regression", labels: [] };
  return head.kind === "sequenceClassification" ? { kind: "classification", labels: head.labels } : null;
}

export function trainingPlan(
  model: TextModel,
  rows: readonly DataRow[],
  options: { readonly batchSize: number; readonly seed: number },
): BatchPlan {
  return createBatchPlan(encode(model, rows), { ...planOptions(model, options.batchSize), seed: options.seed });
}

export function evaluationPlan(model: TextModel, rows: readonly DataRow[], batchSize: number): EvaluationBatches {
  return createEvaluationBatches(encode(model, rows), planOptions(model, batchSize));
}

function encode({ tokenizer, scheme, maxLength }: TextModel, rows: readonly DataRow[]): Example[] {
  return encodeRows(rows, {
    scheme,
    encode: (text, pair) => {
      const { ids, typeIds } = tokenizer.encode(text, pair, { maxLength });
      return { inputIds: ids, tokenTypeIds: typeIds };
    },
  });
}

function planOptions({ tokenizer, scheme, maxLength }: TextModel, batchSize: number): PlanOptions {
  return {
    batchSize,
    padTokenId: tokenizer.padTokenId,
    bucketLengths: [...BUCKETS.filter((length) => length < maxLength), maxLength],
    labelType: scheme.kind === "regression" ? "float32" : "int32",
  };
}
