import type { HostTensor, Named, PeftModel } from "@peftjs/core";
import { kernelMatrix } from "./kernel.ts";
import { empiricalKernel } from "./kernelOfModel.ts";
import type { EmpiricalKernel, KernelOptions } from "./kernelOfModel.ts";
import { accuracyOf, kernelRegression } from "./regression.ts";
import type { LeastSquaresSolver, LogisticSolver, RegressionResult } from "./regression.ts";

/** Examples and their classes. */
export interface LabelledExamples {
  /** Batches of the model's inputs, whose rows are the examples. */
  readonly examples: readonly Named<HostTensor>[];
  readonly labels: ArrayLike<number>;
}

export interface ModelRegressionOptions extends Omit<KernelOptions, "examples" | "others" | "formula"> {
  readonly train: LabelledExamples;
  readonly test: LabelledExamples;
  /** Default: least squares without a ridge. With `adjustForInit`, the regression starts from the model's own outputs. */
  readonly solver?: (Omit<LeastSquaresSolver, "adjustForInit"> & { readonly adjustForInit?: boolean }) | LogisticSolver;
}

export interface ModelRegression extends RegressionResult {
  /** Share of the test examples that are predicted rightly. */
  readonly accuracy: number;
  /** Of the training examples with themselves, and with the test examples. */
  readonly kernel: EmpiricalKernel;
  readonly cross: EmpiricalKernel;
}

/**
 * Kernel regression with the tangent kernel of a model and its attached methods: an estimate of what training on a few examples gives,
 * without training.
 * @throws PeftError as `empiricalKernel` and `kernelRegression`.
 */
export async function regressModel(
  model: PeftModel,
  { train, test, solver = { kind: "leastSquares" }, ...options }: ModelRegressionOptions,
): Promise<ModelRegression> {
  const kernel = await empiricalKernel(model, { ...options, examples: train.examples });
  const cross = await empiricalKernel(model, { ...options, examples: train.examples, others: test.examples });
  const initial = { train: cross.values.data, test: cross.otherValues.data };
  const result = kernelRegression(
    { train: kernelMatrix(kernel), cross: kernelMatrix(cross), labels: train.labels, outputs: kernel.shape[1] },
    solver.kind === "logistic"
      ? solver
      : { ...solver, adjustForInit: solver.adjustForInit === true ? initial : undefined },
  );
  return { ...result, accuracy: accuracyOf(result.predictions, test.labels), kernel, cross };
}
