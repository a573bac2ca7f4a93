import { installMatchers } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { added, BATCH, tensors, tinyModel, type AddedConfig } from "../../test/tiny.ts";
import { float32, int32, peft, PeftModel } from "../index.ts";
import type { CalibrateContext, HostTensor, Method, TensorRunner, WeightGradients } from "../index.ts";
import { hostRunner } from "../runner.ts";

installMatchers();

const batch = {
  input_ids: int32(BATCH.input_ids.dataSync<"int32">().slice(), [2, 3]),
  labels: float32(BATCH.labels.dataSync<"float32">().slice(), [2, 2]),
};
const targets = { targetModules: ["embed", "query", "value"] };

/** Counts the programs, which work at their own time. */
function engineLike(): TensorRunner & { readonly log: string[] } {
  const log: string[] = [];
  return {
    log,
    compile: (fn, options) => {
      const program = hostRunner.compile(fn, options);
      return {
        run: async (args) => {
          await new Promise((resolve) => setTimeout(resolve, 1));
          const results = await program.run(args);
          log.push(`run ${Object.keys(results["found"] ?? {}).join()}`);
          return results;
        },
        dispose: async () => void log.push("dispose"),
      };
    },
  };
}

/** Runs `look` as a method's calibration on a tiny model with a dropout that would show. */
async function looking<T>(
  look: (context: CalibrateContext<AddedConfig>) => Promise<T>,
  runner?: TensorRunner,
): Promise<T> {
  const found: T[] = [];
  const method: Method<AddedConfig> = {
    ...added,
    name: "looking",
    calibrate: async (context) => {
      found.push(await look(context));
      return {};
    },
  };
  await peft(tinyModel(7, { dropout: 0.5 }))
    .use(method, targets)
    .apply({ runner });
  return found[0] as T;
}

function lossOf(change: { readonly name: string; readonly index: number; readonly offset: number }): number {
  const base = tinyModel(7, { dropout: 0.5 });
  const tensor = base.parameters.get(change.name) as HostTensor;
  tensor.data[change.index]! += change.offset;
  const model = new PeftModel(base);
  return tf.tidy(
    () => model.loss({ frozen: tensors(model.frozen()), trainable: {} }, BATCH, { training: false }).dataSync()[0],
  ) as number;
}

/** The derivative of the evaluation's loss, by central differences. */
function expectDerivatives(gradients: WeightGradients): void {
  for (const [name, { data }] of gradients) {
    for (const index of [0, data.length >> 1, data.length - 1]) {
      const [up, down] = [1e-2, -1e-2].map((offset) => lossOf({ name, index, offset }));
      expect(data[index], `${name}[${index}]`).toBeCloseTo((up! - down!) / 2e-2, 3);
    }
  }
}

describe("gradients in calibration", () => {
  it.each([undefined, engineLike()])(
    "are those of the mean loss in evaluation, as weights are stored",
    async (runner) => {
      const gradients = await looking((context) => context.gradients(batch), runner);
      const base = tinyModel();
      expect([...gradients.keys()]).toEqual([
        "body.embed.weight",
        ...["layer.0.query", "layer.1.query", "layer.1.value"].flatMap((path) => [
          `body.${path}.weight`,
          `body.${path}.bias`,
        ]),
      ]);
      for (const [name, { shape, data }] of gradients) {
        expect(shape).toEqual(base.parameters.get(name)!.shape);
        expect(
          data.some((value) => Math.abs(value) > 1e-3),
          name,
        ).toBe(true);
      }
      expectDerivatives(gradients);
    },
  );

  it("keep one program, and make another when other layers are asked for", async () => {
    const runner = engineLike();
    const before = tf.memory().numTensors;
    await looking(async ({ sites, gradients }) => {
      const [, first, second] = sites;
      const one = await gradients(batch, { sites: [first!] });
      expect((await gradients(batch, { sites: [first!] })).get(first!.weight)).toEqual(one.get(first!.weight));
      await gradients(batch, { sites: [second!] });
      expect(await gradients(batch, { sites: [] })).toEqual(new Map());
    }, runner);
    const run = (path: string): string => `run body.${path}.weight,body.${path}.bias`;
    expect(runner.log.slice(0, 4)).toEqual([
      run("layer.0.query"),
      run("layer.0.query"),
      "dispose",
      run("layer.1.query"),
    ]);
    expect(runner.log.slice(4)).toEqual(["dispose"]);
    expect(tf.memory().numTensors).toBe(before);
  });

  it("are zeros for what the loss does not depend on", async () => {
    const base = tinyModel();
    const blind = {
      ...base,
      loss: (outputs: Parameters<typeof base.loss>[0]) => tf.mean(outputs["logits"]!) as tf.Scalar,
    };
    // The model without its second block.
    const model: typeof base = {
      ...blind,
      forward: (f, { input_ids: ids }) => ({ logits: f.linear("body.layer.0.query", f.embedding("body.embed", ids!)) }),
    };
    let gradients: WeightGradients = new Map();
    const method: Method<AddedConfig> = {
      ...added,
      calibrate: async (context) => {
        gradients = await context.gradients(batch);
        return {};
      },
    };
    await peft(model)
      .use(method, { targetModules: ["query"] })
      .apply();
    expect(gradients.get("body.layer.1.query.weight")).toEqual(float32(new Float32Array(16), [4, 4]));
    expect(gradients.get("body.layer.0.query.bias")!.data.every((value) => Math.abs(value) > 1e-3)).toBe(true);
  });

  it("need labels", async () => {
    const { labels: _, ...unlabelled } = batch;
    await expect(looking(({ gradients }) => gradients(unlabelled))).rejects.toThrow(
      expect.objectContaining({
        code: "CALIBRATION_LABELS_MISSING",
        message: expect.stringContaining("has only input_ids. Give `labels`") as string,
      }) as Error,
    );
  });
});
