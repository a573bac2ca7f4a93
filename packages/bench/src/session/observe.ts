import { sizeOf } from "@peftjs/core";
import type { PluginRun, StepChoice, TrainableParameter, TrainingPlugin } from "@peftjs/core";

/** What a plug-in did before one step. */
export interface PluginWork {
  readonly milliseconds: number;
  /** Share of the adapters' parameters, the head apart, that learn in the step. */
  readonly learningShare: number;
}

/** The plug-in itself, which tells of everything that it does before steps. */
export function observed(plugin: TrainingPlugin, tell: (work: PluginWork) => void): TrainingPlugin {
  const { start } = plugin;
  if (start === undefined) return plugin;
  return {
    ...plugin,
    start: (context) => {
      const run = start.call(plugin, context);
      return run.beforeStep === undefined ? run : observedRun(run, context.parameters, tell);
    },
  };
}

function observedRun(
  run: PluginRun,
  parameters: readonly TrainableParameter[],
  tell: (work: PluginWork) => void,
): PluginRun {
  return {
    choosesBlocks: run.choosesBlocks ?? false,
    beforeStep: async (step) => {
      const began = performance.now();
      const choice = (await run.beforeStep?.(step)) ?? {};
      tell({ milliseconds: performance.now() - began, learningShare: learningShare(parameters, choice) });
      return choice;
    },
    state: () => run.state?.(),
  };
}

function learningShare(parameters: readonly TrainableParameter[], { blocks }: StepChoice): number {
  const own = parameters.filter(({ head }) => !head);
  const learning = own.filter(({ block }) => blocks === undefined || block === null || blocks.includes(block));
  return own.length === 0 ? 1 : elements(learning) / elements(own);
}

function elements(parameters: readonly TrainableParameter[]): number {
  return parameters.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}
