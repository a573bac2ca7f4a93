import type { PeftModel } from "@peftjs/core";
import { difference } from "./compare.ts";
import { empiricalKernel, type EmpiricalKernel, type KernelOptions } from "./kernelOfModel.ts";

export interface LazinessPoint {
  readonly kernel: EmpiricalKernel;
  /** Δ_t = ‖K_t − K_0‖_F / ‖K_0‖_F: 0 while the model behaves as its linearisation. */
  readonly change: number;
}

export interface Laziness {
  /** K_0 */
  readonly initial: EmpiricalKernel;
  /** K_t of the same examples at the model's present parameters, which are read anew each time. */
  measure(): Promise<LazinessPoint>;
}

/** Computes K_0, to compare the kernel with while the model is trained. The options stay the same throughout, structure included. */
export async function startLaziness(model: PeftModel, options: KernelOptions): Promise<Laziness> {
  // A generator could be gone through once only.
  const fixed = {
    ...options,
    examples: [...options.examples],
    others: options.others === undefined ? undefined : [...options.others],
  };
  const initial = await empiricalKernel(model, fixed);
  return {
    initial,
    measure: async () => {
      const kernel = await empiricalKernel(model, fixed);
      return { kernel, change: difference(kernel.data, initial.data, 1) };
    },
  };
}
