import type { HostTensor, Named } from "@peftjs/core";
import type { TrainingPlan } from "./model.ts";

/**
 * The batches of a plan's first pass, in its own order, for methods that look at data before they start. Each is made when it is asked
 * for; iterating again starts over.
 */
export function epochBatches(plan: TrainingPlan): Iterable<Named<HostTensor>> {
  return {
    *[Symbol.iterator]() {
      for (let index = 0; index < plan.batchesPerEpoch; index++) yield plan.batchAt(index);
    },
  };
}
