import { PeftError } from "@peftjs/core";
import type { ParameterGroup } from "@peftjs/core";
import type { TrainingConfig } from "../config.ts";
import type { TrainableModel } from "../model.ts";
import { adamW } from "./adamw.ts";
import type { Optimizer, ParamGroup, ParamGroupRule } from "./optimizer.ts";
import { sgd } from "./sgd.ts";

/** How a parameter learns otherwise than the rest; what is left out keeps what its method says, then the run's value. */
export type ParameterGroupRule = (parameter: {
  readonly name: string;
  readonly shape: readonly number[];
}) => ParameterGroup;

export interface GroupSources {
  readonly model: Pick<TrainableModel, "parameterGroup">;
  /** The caller's, which goes before the methods' own. */
  readonly paramGroups?: ParameterGroupRule | undefined;
}

/** The optimizer that the options name, with the groups of methods and caller. */
export function optimizerOf(config: TrainingConfig, { model, paramGroups }: GroupSources): Optimizer {
  const { beta1, beta2, epsilon, weightDecay, momentum } = config;
  const rule: ParamGroupRule = (parameter) => {
    const group = { ...model.parameterGroup?.(parameter.name), ...paramGroups?.(parameter) };
    return relativeGroup(parameter.name, group, config.learningRate);
  };
  if (config.optimizer === "sgd") return sgd({ momentum, weightDecay, paramGroups: rule });
  return adamW({ beta1, beta2, epsilon, weightDecay, paramGroups: rule });
}

/** A peak rate of its own as a multiple of the run's, so that one schedule serves all groups. */
function relativeGroup(name: string, group: ParameterGroup, peak: number): Partial<ParamGroup> {
  const { lrScale = 1, learningRate = peak, ...rest } = group;
  if (peak === 0 && learningRate !== 0) {
    throw new PeftError(
      "CONFIG_INVALID",
      `"${name}" is to learn at a peak rate of ${learningRate}, but the run's learningRate is 0, and a group's rate is a multiple of it. Set learningRate to a small positive number, or the group's rate to 0.`,
    );
  }
  return {
    lrScale: learningRate === peak ? lrScale : (lrScale * learningRate) / peak,
    ...rest,
  };
}
