import type { HostMatrix, HostTensor, Named, PeftModel, TensorRunner } from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";
import type { Kernel } from "./kernel.ts";
import type { Subset, SubsetReport } from "./subsets.ts";

/**
 * What two gradients g and g' come to. `sgd`: gᵀg'. `signgd`: sign(g)ᵀsign(g'). `asymmetric_signgd`: sign(g)ᵀg' with g of the row's
 * example, so the kernel of (A, B) is not that of (B, A) transposed.
 */
export type KernelFormula = "sgd" | "signgd" | "asymmetric_signgd";

/** Traceable: the C outputs of a batch of one example, any shape of C values, from what the model returns. */
export type OutputFunction = (outputs: Named<tf.Tensor>, batch: Named<tf.Tensor>) => tf.Tensor;

export interface KernelOptions {
  /** Batches of the model's inputs; every row is an example, those with `row_weights` 0 are left out. */
  readonly examples: Iterable<Named<HostTensor>>;
  /** The kernel's columns. Default: the examples again. */
  readonly others?: Iterable<Named<HostTensor>> | undefined;
  /** Computes the gradients. Default: the active tfjs backend, which is slow for more than tiny models. */
  readonly runner?: TensorRunner | undefined;
  /** Default: what the attached methods train, without the biases beside it and the head (`trained()`). */
  readonly subset?: Subset | undefined;
  /** Default: "sgd". */
  readonly formula?: KernelFormula | undefined;
  /** `logits`: all of them; `binary`: f₁ − f₀. Default: "logits". */
  readonly outputs?: "logits" | "binary" | OutputFunction | undefined;
  /** Examples whose gradients are held at once. Default: all. */
  readonly exampleBlock?: number | undefined;
  /** Values of each gradient that are held at once. Default: as many as fit in 256 MB. */
  readonly parameterBlock?: number | undefined;
}

export interface EmpiricalKernel extends Kernel {
  readonly formula: KernelFormula;
  /** Which parameters were summed over. */
  readonly subset: SubsetReport;
  /** f(x_n) of the examples, [N, C], and of the others, [M, C]. */
  readonly values: HostMatrix;
  readonly otherValues: HostMatrix;
}

/** The tangent kernel of a model at its present parameters, in evaluation mode. */
export declare function empiricalKernel(model: PeftModel, options: KernelOptions): Promise<EmpiricalKernel>;
