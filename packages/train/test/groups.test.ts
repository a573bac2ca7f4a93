import { peft } from "@peftjs/core";
import type { ParameterGroup } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { describe, expect, it } from "vitest";
import { Trainer } from "../src/index.ts";
import type { ParameterGroupRule, TrainingConfigInput } from "../src/index.ts";
import { expectClose } from "./close.ts";
import { linearModel, tracked } from "./linearModel.ts";
import { tinyPlan } from "./tinyModel.ts";

const A = "default.classifier.a";
const config = { optimizer: "sgd", learningRate: 0.01, maxSteps: 3, warmupSteps: 0, weightDecay: 0 } as const;

interface Groups {
  /** What the method says about A. */
  readonly own?: ParameterGroup;
  readonly paramGroups?: ParameterGroupRule;
  readonly more?: TrainingConfigInput;
}

/** A after three steps of a run with these groups. */
async function trained({ own = {}, paramGroups, more = {} }: Groups): Promise<number[]> {
  const model = await peft(linearModel()).use(tracked(), { group: own }).apply();
  const trainer = new Trainer({
    model,
    engine: await createEngine({ kind: "onnx", threads: 1 }),
    train: tinyPlan(),
    config: { ...config, ...more },
    ...(paramGroups === undefined ? {} : { paramGroups }),
  });
  await trainer.train();
  await trainer.dispose();
  return Array.from(model.trainable()[A]?.data ?? []);
}

describe("parameter groups", () => {
  it("are those of the method, under the caller's", async () => {
    const [plain, tenfold] = [await trained({}), await trained({ more: { learningRate: 0.1 } })];
    expect(() => expectClose(tenfold, plain)).toThrow();
    expectClose(await trained({ own: { lrScale: 10 } }), tenfold);
    expectClose(await trained({ paramGroups: ({ name }) => ({ lrScale: name === A ? 10 : 1 }) }), tenfold);
    const caller: ParameterGroupRule = ({ shape }) => ({ lrScale: shape.length === 2 ? 1 : 5 });
    expectClose(await trained({ own: { lrScale: 10 }, paramGroups: caller }), plain);
    const decayed = await trained({ more: { weightDecay: 0.5 } });
    expect(() => expectClose(decayed, plain)).toThrow();
    expectClose(
      await trained({ own: { lrScale: 10 }, paramGroups: () => ({ weightDecay: 0.5 }) }),
      await trained({ more: { weightDecay: 0.5, learningRate: 0.1 } }),
    );
  });

  it("may have a peak rate of their own, on the run's schedule", async () => {
    const tenfold = await trained({ more: { learningRate: 0.1 } });
    expectClose(await trained({ own: { learningRate: 0.1 } }), tenfold);
    expectClose(await trained({ own: { learningRate: 0.02, lrScale: 5 } }), tenfold);
    await expect(trained({ own: { learningRate: 0.1 }, more: { learningRate: 0 } })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
  });
});
