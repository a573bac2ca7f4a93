import type { StepChoice, TrainingPlugin } from "@peftjs/core";

/** What a plug-in decided in the runs that began with it. */
export interface Observed {
  /** The same plug-in, watched. */
  readonly plugin: TrainingPlugin;
  readonly choosesBlocks: boolean;
  /** Blocks of every step, in order; undefined is all. Empty for plug-ins that choose none. */
  readonly choices: readonly StepChoice["blocks"][];
}

export function observed(plugin: TrainingPlugin): Observed {
  const choices: StepChoice["blocks"][] = [];
  let choosesBlocks = false;
  const { start } = plugin;
  if (start === undefined) return { plugin, choosesBlocks, choices };
  const watched: TrainingPlugin = {
    ...plugin,
    start: (context) => {
      const run = start.call(plugin, context);
      if (run.choosesBlocks !== true) return run;
      choosesBlocks = true;
      return {
        choosesBlocks,
        beforeStep: async (step) => {
          const choice = (await run.beforeStep?.(step)) ?? {};
          choices.push(choice.blocks);
          return choice;
        },
        ...(run.state === undefined ? {} : { state: () => run.state?.() }),
      };
    },
  };
  return {
    plugin: watched,
    choices,
    get choosesBlocks() {
      return choosesBlocks;
    },
  };
}
