import { defineTrainingPlugin } from "@peftjs/core";
import { learningBlocks } from "./blocks.ts";
import { RstConfig, rstPlan } from "./config.ts";
import { reportFiles } from "./report.ts";
import { runOf } from "./run.ts";

/**
 * RST, random sparse tuning (Yao et al. 2024): before every step N_u blocks are drawn that learn, all equally likely.
 *
 * `start` throws PeftError `BLOCKS_MISSING` and `BLOCKS_SHARED` (see `learningBlocks`), `CONFIG_INVALID` for more blocks than there are,
 * `RESUME_MISMATCH` for the state of another model.
 */
export const rst = defineTrainingPlugin<RstConfig>({
  name: "rst",
  description: "A few blocks learn in each step, drawn at random: the control of IST.",
  package: "@peftjs/ist",
  config: RstConfig,
  exclusive: "blocks",
  start(context) {
    const blocks = learningBlocks(context);
    return runOf(context, { blocks, plan: rstPlan(context.config, blocks.length) });
  },
  report: (records) => reportFiles("rst", records),
});
