import { defineTrainingPlugin } from "@peftjs/core";
import { learningBlocks, requireResponses } from "./blocks.ts";
import { IstConfig, istPlan } from "./config.ts";
import { reportFiles } from "./report.ts";
import { runOf } from "./run.ts";

/**
 * IST, importance-aware sparse tuning (Yao et al. 2024): before every step N_u blocks are drawn that learn, by their importance I; every
 * T steps K candidates, each with N_s blocks suppressed, are compared, and I is updated by their losses.
 *
 * `start` throws PeftError `BLOCKS_MISSING` and `BLOCKS_SHARED` (see `learningBlocks`), `CONFIG_INVALID` for more blocks than there are,
 * `RESPONSE_MISSING` when something learns in a block whose layers nothing is added to, `RESUME_MISMATCH` for the state of another model.
 */
export const ist = defineTrainingPlugin<IstConfig>({
  name: "ist",
  description: "A few blocks learn in each step, drawn by an importance that comparisons teach.",
  package: "@peftjs/ist",
  config: IstConfig,
  exclusive: "blocks",
  start(context) {
    const { config, responsive } = context;
    const blocks = learningBlocks(context);
    const plan = istPlan(config, blocks.length);
    if (plan.importance !== null) requireResponses("ist", blocks, responsive);
    const { suppression, response, importanceSource: source, importanceBatchSize: rows } = config;
    return runOf(context, { blocks, plan, candidates: { source, rows, response, suppression } });
  },
  report: (records) => reportFiles("ist", records),
});
