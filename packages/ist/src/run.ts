import type { PluginContext, PluginLossOptions, PluginRun } from "@peftjs/core";
import type { Plan } from "./config.ts";
import { BlockController } from "./controller.ts";
import type { ControllerState } from "./controller.ts";

/** How candidates are compared. */
export interface CandidateOptions extends Pick<PluginLossOptions, "source" | "rows" | "response"> {
  /** β. */
  readonly suppression: number;
}

interface RunOptions {
  /** The blocks that can learn, ascending. */
  readonly blocks: readonly number[];
  readonly plan: Plan;
  /** Needed where the plan has an importance. */
  readonly candidates?: CandidateOptions;
}

/**
 * Before each step: where the importance is due, the loss of every candidate on the same batch, then the blocks that learn. Inside are
 * places among the blocks that can learn; outside, in records, losses and choices, are blocks of the model.
 */
export function runOf(
  context: PluginContext<{ readonly seed: number }>,
  { blocks, plan, candidates }: RunOptions,
): PluginRun {
  const { tools } = context;
  const controller = new BlockController(plan, (context.state as ControllerState | undefined) ?? context.config.seed);
  const blocksAt = (places: readonly number[]): number[] => places.map((place) => blocks[place] as number);

  /** L_k with the factor β for the blocks of S_k. Factors are inputs of the loss: nothing is left to restore, even if it throws. */
  async function lossWithout(suppressed: readonly number[], options: CandidateOptions): Promise<number> {
    const { suppression, ...rows } = options;
    const responseScale = Array.from({ length: context.blocks }, (_, block) =>
      suppressed.includes(block) ? suppression : 1,
    );
    return tools.loss({ ...rows, index: controller.comparisons, responseScale });
  }

  async function compare(step: number, options: CandidateOptions): Promise<void> {
    const sets = controller.candidates().map(blocksAt);
    if (sets.length === 0) return;
    const losses: number[] = [];
    for (const set of sets) losses.push(await lossWithout(set, options));
    const { importance, applied } = controller.learn(losses);
    // JSON has no NaN.
    const recorded = losses.map((loss) => (Number.isFinite(loss) ? loss : null));
    tools.record({ sets, losses: recorded, importance, applied });
    if (!applied) warnOnce(step, losses);
  }

  let warned = false;
  function warnOnce(step: number, losses: readonly number[]): void {
    if (warned) return;
    warned = true;
    tools.warn(
      `The importance of the blocks stays as it is before step ${step}: the losses of its candidates are ${losses.join(", ")}. Expected finite numbers; a lower learning rate may help. Later ones are left out without a word.`,
    );
  }

  const choosesBlocks = plan.learning < plan.blocks;
  return {
    choosesBlocks,
    async beforeStep(step) {
      if (candidates !== undefined) await compare(step, candidates);
      const chosen = blocksAt(controller.select());
      tools.record({ blocks: chosen, ...(step === 1 ? { among: blocks } : {}) });
      return choosesBlocks ? { blocks: chosen } : {};
    },
    state: () => controller.state(),
  };
}
