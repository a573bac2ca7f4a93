import { PeftError } from "@peftjs/core";
import type { AdaloraConfig } from "./config.ts";

/** When ranks shrink, in optimizer steps. */
export interface Schedule {
  readonly tinit: number;
  readonly tfinal: number;
  readonly deltaT: number;
  readonly totalSteps: number;
}

export interface BudgetContext extends Schedule {
  /** b₀: components of all layers at the start. */
  readonly initial: number;
  /** b_T: components that are left at the end. */
  readonly target: number;
}

/**
 * b(t), the components that may be left after step t, and whether step t prunes. b₀ until `tinit`, then
 * ⌊b_T + (b₀ − b_T)·(1 − (t − tinit)/(T − tfinal − tinit))³⌋ until T − tfinal, then b_T.
 * Zhang et al. (2023) print (t − tinit − tfinal)/(T − tinit − tfinal) in eq. 12, which exceeds b₀ at first and does not reach b_T in
 * time; this is the form of their code.
 */
export function budgetAt(step: number, context: BudgetContext): { readonly budget: number; readonly prunes: boolean } {
  const { initial, target, tinit, tfinal, deltaT, totalSteps } = context;
  const last = totalSteps - tfinal;
  if (step <= tinit) return { budget: initial, prunes: false };
  if (step >= last) return { budget: target, prunes: true };
  const left = 1 - (step - tinit) / (last - tinit);
  return { budget: Math.trunc((initial - target) * left ** 3 + target), prunes: step % deltaT === 0 };
}

/**
 * The schedule in whole steps. `runSteps` counts when the config names no total, or one that leaves a single step to prune in: that
 * is what files of adapters hold that were never trained.
 * @throws PeftError `CONFIG_INVALID` when nobody knows the total, or it leaves no step to prune in.
 */
export function scheduleOf(config: AdaloraConfig, runSteps: number | null): Schedule {
  const { deltaT } = config;
  const own = config.totalSteps !== null && config.totalSteps > untrainedSteps(config) ? config.totalSteps : null;
  const totalSteps = own ?? runSteps ?? config.totalSteps;
  if (totalSteps === null) {
    throw new PeftError(
      "CONFIG_INVALID",
      "AdaLoRA lays its schedule out over the whole run, whose number of steps is not known here. Set totalSteps.",
    );
  }
  const [tinit, tfinal] = [wholeSteps(config.tinit, totalSteps), wholeSteps(config.tfinal, totalSteps)];
  if (tinit >= totalSteps - tfinal) {
    throw new PeftError(
      "CONFIG_INVALID",
      `AdaLoRA has no step to prune in: of ${totalSteps} steps tinit takes the first ${tinit} and tfinal the last ${tfinal}. ` +
        "Make tinit or tfinal smaller (below 1 they are shares of all steps), or train longer.",
    );
  }
  return { tinit, tfinal, deltaT, totalSteps };
}

/** The least total that the Python library accepts beside `tinit` and `tfinal`, where shares of an unknown total are zero. */
export function untrainedSteps({ tinit, tfinal }: Pick<AdaloraConfig, "tinit" | "tfinal">): number {
  return wholeSteps(tinit, 0) + wholeSteps(tfinal, 0) + 1;
}

/** A share of all steps as steps. */
export function wholeSteps(value: number, totalSteps: number): number {
  return value < 1 ? Math.round(value * totalSteps) : value;
}
