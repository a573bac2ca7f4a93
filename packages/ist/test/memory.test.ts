import { peft } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { lora } from "@peftjs/method-lora-family";
import { eagerEngine } from "@peftjs/testkit";
import { batchAt, tinyModel } from "@peftjs/testkit/conformance";
import { adamW, Stepper } from "@peftjs/train";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";

/** Most bytes of tensors at a time in one step, by the blocks that learn; undefined: all. */
async function peaks(choices: readonly (readonly number[] | undefined)[]): Promise<number[]> {
  const engine = await createEngine(eagerEngine);
  const model = await peft(tinyModel("bert", { blocks: 8 }))
    .use(lora, { rank: 2 })
    .apply();
  const options = { model, engine, optimizer: adamW(), maxGradNorm: 1, seed: 0 };
  const stepper = new Stepper({ ...options, choosesBlocks: true });
  const found: number[] = [];
  for (const [i, blocks] of choices.entries()) {
    const input = { batches: [batchAt("bert", i)], firstBatch: i, step: i + 1, learningRate: 1e-3, blocks };
    const { peakBytes } = await tf.profile(async () => {
      await stepper.step(input);
      return [];
    });
    found.push(peakBytes);
  }
  await stepper.dispose();
  return found;
}

describe("memory of a step in which two of eight blocks learn", () => {
  it("is less by what the blocks below them would keep", async () => {
    // The first step makes what all others keep.
    const choices = [undefined, undefined, [0, 1], [4, 5], [6, 7]];
    const [, all = 0, lowest = 0, middle = 0, highest = 0] = await peaks(choices);
    expect(lowest).toBeLessThanOrEqual(all);
    // Half, and three quarters, of the blocks keep nothing.
    expect(middle).toBeLessThan(0.5 * all);
    expect(highest).toBeLessThan(0.25 * all);
  });
});
