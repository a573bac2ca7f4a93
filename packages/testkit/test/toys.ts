import { defineTrainingPlugin, PeftError } from "@peftjs/core";
import type { ParameterRule, TrainableParameter, TrainingPlugin } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";

const own = { package: "@peftjs/testkit" };

const TurnsConfig = z.strictObject({
  every: z.int().positive().default(1).describe("Optimizer steps for which a block learns."),
  from: z.int().nonnegative().default(0).describe("Block that learns first."),
  all: z.boolean().default(false).describe("Whether all blocks learn in every step."),
});
type TurnsConfig = z.infer<typeof TurnsConfig>;

/** A plug-in that chooses blocks: they learn one after the other. Looks at the training loss whenever the turn changes. */
export const turns: TrainingPlugin<TurnsConfig> = defineTrainingPlugin<TurnsConfig>({
  ...own,
  name: "turns",
  description: "One block learns at a time.",
  config: TurnsConfig,
  exclusive: "blocks",
  start: ({ config: { every, from, all }, blocks, state, tools }) => {
    if (from >= blocks) {
      throw new PeftError(
        "CONFIG_INVALID",
        `The block ${from} is to learn first, but the model has ${blocks}. Set from to at most ${blocks - 1}.`,
      );
    }
    if (all) return {};
    let { block, left } = (state as Turn | undefined) ?? { block: from, left: every };
    return {
      choosesBlocks: true,
      beforeStep: async (step) => {
        if (left === 0) {
          [block, left] = [(block + 1) % blocks, every];
          const responseScale = Array.from({ length: blocks }, (_, index) => (index === block ? 0.5 : 1));
          const loss = await tools.loss({ source: "train", index: step, rows: 4, responseScale });
          tools.record({ block, loss });
        }
        left--;
        return { blocks: [block] };
      },
      state: (): Turn => ({ block, left }),
    };
  },
  report: (records) => ({ "turns.json": JSON.stringify(records) }),
});

interface Turn {
  readonly block: number;
  readonly left: number;
}

const PlainConfig = z.strictObject({
  rate: z.number().positive().default(0.5).describe("Multiplies the learning rate."),
  momentum: z.number().min(0).lt(1).default(0).describe("Memory of the gradient."),
  refreshEvery: z.int().positive().default(4).describe("Updates after which the memory is halved."),
});
type PlainConfig = z.infer<typeof PlainConfig>;

/** A plug-in with an update of its own for matrices: b ← μ·b + G, p ← p − η·rate·b, and b/2 after every few updates. */
export const plain: TrainingPlugin<PlainConfig> = defineTrainingPlugin<PlainConfig>({
  ...own,
  name: "plain",
  description: "Plain descent for matrices.",
  config: PlainConfig,
  parameterRule: (parameter, config) => (isMatrix(parameter) ? plainRule(parameter, config) : null),
});

export function isMatrix({ shape, head }: TrainableParameter): boolean {
  return shape.length === 2 && !head;
}

export function plainRule({ shape }: TrainableParameter, { rate, momentum, refreshEvery }: PlainConfig): ParameterRule {
  return {
    kind: "plain",
    state: { b: { shape, dtype: "float32" } },
    scalars: ({ learningRate }) => ({ step: learningRate * rate, momentum }),
    update: ({ parameter, gradient, gradientScale, state, scalars }) => {
      const g = gradientScale === null ? gradient : tf.mul(gradient, gradientScale);
      const b = tf.add(tf.mul(state["b"] as tf.Tensor, scalars["momentum"] as tf.Tensor), g);
      return { parameter: tf.sub(parameter, tf.mul(b, scalars["step"] as tf.Tensor)), state: { b } };
    },
    refreshDue: ({ updates }) => updates % refreshEvery === 0,
    refresh: ({ state: { b } }) => {
      b?.data.forEach((value, i) => void (b.data[i] = value / 2));
      return Promise.resolve();
    },
  };
}

const RatesConfig = z.strictObject({
  value: z.number().nonnegative().default(4).describe("Factor of the learning rate of values."),
});
type RatesConfig = z.infer<typeof RatesConfig>;

/** A plug-in that is a rule about parameters and nothing else. */
export const rates: TrainingPlugin<RatesConfig> = defineTrainingPlugin<RatesConfig>({
  ...own,
  name: "rates",
  description: "Another learning rate for values.",
  config: RatesConfig,
  parameterGroup: ({ site }, { value }) => (site?.role === "value" ? { lrScale: value } : {}),
});
