import { PeftError } from "@peftjs/core";
import { z } from "zod";

const count = z.int().positive();
const share = z.number().gt(0).max(1);

const drawFields = {
  updateFraction: share.default(0.25).describe("Share of the blocks that learn in a step, rounded down, at least one."),
  layersPerStep: count
    .nullable()
    .default(null)
    .describe("Number N_u of blocks that learn in a step; takes precedence over updateFraction."),
  resampleEvery: count.default(1).describe("Optimizer steps for which a drawn set of blocks stays."),
  seed: z
    .int()
    .min(-(2 ** 31))
    .max(2 ** 31 - 1)
    .default(42)
    .describe("Seed of the draws."),
};

/** Settings of IST. Defaults are the constants of the original code. */
export const IstConfig = z
  .strictObject({
    ...drawFields,
    suppressFraction: share
      .default(0.5)
      .describe("Share of the blocks that a candidate suppresses, rounded down, at least one."),
    layersSuppressed: count
      .nullable()
      .default(null)
      .describe("Number N_s of blocks that a candidate suppresses; takes precedence over suppressFraction."),
    candidates: z
      .int()
      .nonnegative()
      .default(3)
      .describe("Number K of candidates that are compared in an update of the importance; 0: it is never updated."),
    suppression: z
      .number()
      .min(0)
      .lt(1)
      .default(0.25)
      .describe("Factor β of the response of the adapters in a suppressed block."),
    response: z
      .enum(["method", "output"])
      .default("method")
      .describe(
        'What β multiplies: "method" what the method calls its response (DoRA: the low-rank part of the direction), "output" all that it ' +
          "adds to a layer's output. The same for most methods.",
      ),
    interval: count.default(10).describe("Optimizer steps T between updates of the importance."),
    importanceLr: z.number().positive().default(10).describe("Step size η of the importance."),
    importanceBatchSize: count
      .default(16)
      .describe("Rows of the batch that all candidates of an update are compared on."),
    importanceSource: z.enum(["train", "validation"]).default("train").describe("Where these rows come from."),
    sampler: z
      .enum(["sequential", "uniform-topk", "topk"])
      .default("sequential")
      .describe(
        'How the learning blocks are drawn from σ(I): "sequential" one after the other without replacement, "uniform-topk" those of the ' +
          'largest u ~ U(0, σ(I)), "topk" those of the largest I, equal ones at random.',
      ),
    derivativeFactor: z.boolean().default(true).describe("Whether the update has the factor σ(I)·(1 − σ(I))."),
  })
  .refine(({ candidates }) => candidates !== 1, {
    path: ["candidates"],
    message: "One candidate has nothing to be compared with: expected 0, or 2 and more.",
  });
export type IstConfig = z.infer<typeof IstConfig>;

/** Settings of RST: the draw of IST, uniform, without importance. */
export const RstConfig = z
  .strictObject({
    ...drawFields,
    fixed: z.boolean().default(false).describe("Whether one set of blocks, drawn at the start, learns in all steps."),
  })
  .refine(({ fixed, resampleEvery }) => !fixed || resampleEvery === 1, {
    path: ["resampleEvery"],
    message: "A fixed set is never drawn again: leave resampleEvery out, or set fixed to false.",
  });
export type RstConfig = z.infer<typeof RstConfig>;

export type Sampler = IstConfig["sampler"];

/** What a run does, in numbers of blocks. */
export interface Plan {
  /** N. */
  readonly blocks: number;
  /** N_u. */
  readonly learning: number;
  /** Infinity: the first set stays. */
  readonly resampleEvery: number;
  readonly sampler: Sampler;
  /** Null: the importance stays zero. */
  readonly importance: ImportancePlan | null;
}

export interface ImportancePlan {
  /** N_s. */
  readonly suppressed: number;
  /** K, at most the number of different sets. */
  readonly candidates: number;
  /** T. */
  readonly interval: number;
  /** η. */
  readonly learningRate: number;
  readonly derivativeFactor: boolean;
}

/**
 * IST for a model of N blocks. K is at most C(N, N_s), the number of different sets; where that leaves one, as with a single block,
 * nothing can be compared and the importance stays zero.
 * @throws PeftError `CONFIG_INVALID` when more blocks are asked for than there are, or all of several are to be suppressed.
 */
export function istPlan(config: IstConfig, blocks: number): Plan {
  const suppressed = blockCount("layersSuppressed", blocks, {
    count: config.layersSuppressed,
    fraction: config.suppressFraction,
  });
  if (config.candidates > 0 && blocks > 1 && suppressed === blocks) {
    throw new PeftError(
      "CONFIG_INVALID",
      `Candidates suppress all ${blocks} blocks, so that there is one candidate and nothing to compare. Set layersSuppressed to at most ${blocks - 1}, or candidates to 0.`,
    );
  }
  const candidates = Math.min(config.candidates, subsets(blocks, suppressed));
  const { interval, importanceLr: learningRate, derivativeFactor } = config;
  return {
    blocks,
    learning: learningCount(config, blocks),
    resampleEvery: config.resampleEvery,
    sampler: config.sampler,
    importance: candidates < 2 ? null : { suppressed, candidates, interval, learningRate, derivativeFactor },
  };
}

/**
 * RST for a model of N blocks: K = 0, I = 0.
 * @throws PeftError `CONFIG_INVALID` when more blocks are asked for than there are.
 */
export function rstPlan(config: RstConfig, blocks: number): Plan {
  return {
    blocks,
    learning: learningCount(config, blocks),
    resampleEvery: config.fixed ? Infinity : config.resampleEvery,
    sampler: "sequential",
    importance: null,
  };
}

function learningCount(
  { layersPerStep: count, updateFraction: fraction }: RstConfig | IstConfig,
  blocks: number,
): number {
  return blockCount("layersPerStep", blocks, { count, fraction });
}

/** max(1, ⌊fraction·N⌋), unless a number is given. */
function blockCount(
  option: string,
  blocks: number,
  { count, fraction }: { readonly count: number | null; readonly fraction: number },
): number {
  if (count !== null && count > blocks) {
    throw new PeftError(
      "CONFIG_INVALID",
      `${option} is ${count}, but the model has ${blocks} blocks with something to train. Set it to at most ${blocks}.`,
    );
  }
  // 0.29·100 is a little less than 29.
  return count ?? Math.max(1, Math.floor(fraction * blocks + 1e-9));
}

/** C(n, k): the number of sets of k among n. */
export function subsets(n: number, k: number): number {
  let product = 1;
  for (let i = 1; i <= Math.min(k, n - k); i++) product = (product * (n - i + 1)) / i;
  return Math.round(product);
}
