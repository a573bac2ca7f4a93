import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HostTensor, Named } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectClose } from "../test/close.ts";
import { tinyBatch, tinyEvaluation, tinyModel, tinyPlan } from "../test/tinyModel.ts";
import { adamW, evaluate, sgd, Stepper, Trainer } from "./index.ts";
import type { EvaluateEvent, StepEvent, TrainerOptions, TrainingConfigInput } from "./index.ts";

const folders: string[] = [];
const folder = (): string => {
  const path = mkdtempSync(join(tmpdir(), "peftjs-train-"));
  folders.push(path);
  return path;
};
afterAll(() => Promise.all(folders.map((path) => rm(path, { recursive: true }))));

describe.each(["eager", "onnx"] as const)("training (%s)", (kind) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine(kind === "eager" ? { kind, backend: "cpu" } : { kind, threads: 1 });
  });

  const run = async (config: TrainingConfigInput, more: Partial<TrainerOptions> = {}) => {
    const model = tinyModel();
    const trainer = new Trainer({
      model,
      engine,
      train: tinyPlan(),
      config: { learningRate: 0.05, ...config },
      ...more,
    });
    const steps: StepEvent[] = [];
    const evaluations: EvaluateEvent[] = [];
    trainer.on("step", (event) => steps.push(event));
    trainer.on("evaluate", (event) => evaluations.push(event));
    try {
      return { model, steps, evaluations, result: await trainer.train() };
    } finally {
      await trainer.dispose();
    }
  };

  it("learns, evaluates every epoch, and leaves the best parameters in the model", async () => {
    const { model, steps, evaluations, result } = await run(
      { epochs: 8, metricForBest: "accuracy" },
      { evaluation: tinyEvaluation() },
    );
    expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: 48 }, (_, i) => i + 1));
    expect(model.steps).toEqual(steps.map(({ step }) => step));
    const epochLoss = (epoch: number): number =>
      steps.slice(6 * epoch, 6 * epoch + 6).reduce((sum, { loss }) => sum + loss / 6, 0);
    expect(epochLoss(7)).toBeLessThan(0.8 * epochLoss(0));
    expect(evaluations.map(({ step }) => step)).toEqual([6, 12, 18, 24, 30, 36, 42, 48]);
    const highest = Math.max(...evaluations.map(({ metrics }) => metrics["accuracy"] as number));
    const best = evaluations.find(({ metrics }) => metrics["accuracy"] === highest) as EvaluateEvent;
    expect(best.step).toBeLessThan(48);
    expect(result.best).toEqual({ step: best.step, value: highest, metrics: best.metrics });
    expect((await evaluate(model, engine, tinyEvaluation())).metrics).toEqual(best.metrics);
  });

  it("leaves a parameter alone that the loss does not depend on", async () => {
    const { model } = await run({ maxSteps: 5, weightDecay: 0.5 });
    expect(model.trainable()["unused"]?.data).toEqual(tinyModel().trainable()["unused"]?.data);
    expect(model.trainable()["out.weight"]?.data).not.toEqual(tinyModel().trainable()["out.weight"]?.data);
  });

  it("makes one step of a step's micro-batches, weighted by their rows", async () => {
    const plain = { ...tinyModel(), afterStep: () => undefined };
    const model = {
      ...plain,
      loss: ((p, batch, mode) => tinyModel().loss(p, batch, { ...mode, training: false })) as typeof plain.loss,
    };
    const sizes = [8, 3, 5];
    const batches = sizes.map((rows, i) => tinyBatch(i, rows));
    const joined = Object.fromEntries(
      ["x", "labels", "row_weights"].map((name) => {
        const parts = batches.map((batch) => batch[name] as HostTensor);
        const data = parts.flatMap((part) => Array.from(part.data));
        const typed = name === "labels" ? Int32Array.from(data) : Float32Array.from(data);
        return [
          name,
          {
            dtype: (parts[0] as HostTensor).dtype,
            shape: [16, ...(parts[0] as HostTensor).shape.slice(1)],
            data: typed,
          },
        ];
      }),
    ) as Named<HostTensor>;
    const outcome = async (list: readonly Named<HostTensor>[]) => {
      let trainable = tinyModel().trainable();
      const own = {
        ...model,
        trainable: () => trainable,
        setTrainable: (values: Named<HostTensor>) => void (trainable = values),
      };
      const stepper = new Stepper({ model: own, engine, optimizer: sgd({ momentum: 0.9 }), maxGradNorm: 0.1, seed: 0 });
      const metrics = [];
      for (let step = 1; step <= 3; step++)
        metrics.push(
          await stepper.step({ batches: list, firstBatch: (step - 1) * list.length, step, learningRate: 0.5 }),
        );
      await stepper.dispose();
      return { trainable, metrics };
    };
    const parts = await outcome(batches);
    const whole = await outcome([joined]);
    expectClose(
      parts.metrics.flatMap((m) => [m.loss, m.gradNorm]),
      whole.metrics.flatMap((m) => [m.loss, m.gradNorm]),
    );
    for (const [name, tensor] of Object.entries(whole.trainable))
      expectClose((parts.trainable[name] as HostTensor).data, tensor.data);
  });

  it("gives rows back in the order of the data set", async () => {
    const model = tinyModel();
    const plan = tinyEvaluation(3, 8);
    const result = await evaluate(model, engine, plan);
    expect(result.logits).toHaveLength(22);
    const first = tinyBatch(500, 8); // its row 0 is row 21 of the data set
    const single = await evaluate(model, engine, {
      batches: 1,
      batchAt: () => ({ batch: first, rows: [0, 1, 2, 3, 4, 5, 6, 7] }),
    });
    expectClose(result.logits[21] as Float32Array, single.logits[0] as Float32Array, 1e-6);
    expectClose(result.logits[14] as Float32Array, single.logits[7] as Float32Array, 1e-6);
    expect(result.labels?.[21]).toBe(first["labels"]?.data[0]);
    const correct = result.predictions.filter((prediction, row) => prediction === result.labels?.[row]).length;
    expect(result.metrics["accuracy"]).toBe(correct / 22);
  });

  it("evaluates rows without labels", async () => {
    const { labels: _labels, ...unlabelled } = tinyBatch(0);
    const result = await evaluate(tinyModel(), engine, {
      batches: 1,
      batchAt: () => ({ batch: unlabelled, rows: [0, 1, 2, 3, 4, 5, 6, 7] }),
    });
    expect(result.loss).toBeNull();
    expect(result.metrics).toEqual({});
    expect(result.predictions.every((prediction) => [0, 1, 2].includes(prediction))).toBe(true);
  });

  it("stops early once the metric no longer improves", async () => {
    const { steps, evaluations, result } = await run(
      { epochs: 40, learningRate: 0, evalEvery: 2, earlyStopPatience: 3 },
      { evaluation: tinyEvaluation() },
    );
    expect(result.reason).toBe("earlyStop");
    expect(evaluations.map(({ best }) => best)).toEqual([true, false, false, false]);
    expect(steps).toHaveLength(8);
  });

  it("resumes exactly, in the same process, with accumulation and momentum of both moments", async () => {
    const config = { epochs: 3, accumulationSteps: 2, saveEvery: 2, evalEvery: 3 } satisfies TrainingConfigInput;
    const whole = await run({ ...config, outputDir: folder() }, { evaluation: tinyEvaluation() });
    const outputDir = folder();
    const controller = new AbortController();
    const stopping = { step: ({ step }: StepEvent) => void (step === 5 && controller.abort()) };
    const part = await run(
      { ...config, outputDir },
      { evaluation: tinyEvaluation(), signal: controller.signal, loggers: [stopping] },
    );
    expect(part.result.reason).toBe("aborted");
    const rest = await run({ ...config, outputDir, resume: true }, { evaluation: tinyEvaluation() });
    expect([...part.steps, ...rest.steps].map(({ loss }) => loss)).toEqual(whole.steps.map(({ loss }) => loss));
    expect(rest.model.trainable()).toEqual(whole.model.trainable());
    expect(rest.result).toEqual(whole.result);
    const again = await run({ ...config, outputDir, resume: true }, { evaluation: tinyEvaluation() });
    expect(again.steps).toEqual([]);
    expect(again.result).toEqual(whole.result);
    expect(again.model.trainable()).toEqual(whole.model.trainable());
  });

  it("captures neither the dropout key nor the learning rate nor the number of the step", async () => {
    const losses = async (seed: number): Promise<{ losses: number[]; moved: number[] }> => {
      const model = tinyModel();
      const stepper = new Stepper({ model, engine, optimizer: adamW(), maxGradNorm: null, seed });
      const result = { losses: [] as number[], moved: [] as number[] };
      for (const [i, learningRate] of [0, 0, 0.1, 0.2].entries()) {
        const before = Float32Array.from(model.trainable()["out.bias"]?.data ?? []);
        const input = { batches: [tinyBatch(0)], firstBatch: i, step: i + 1, learningRate };
        result.losses.push((await stepper.step(input)).loss);
        const after = model.trainable()["out.bias"]?.data ?? [];
        result.moved.push(Math.max(...before.map((value, j) => Math.abs(value - (after[j] as number)))));
      }
      await stepper.dispose();
      return result;
    };
    const [first, again, other] = [await losses(1), await losses(1), await losses(2)];
    expect(again).toEqual(first);
    expect(new Set([...first.losses.slice(0, 2), ...other.losses.slice(0, 2)]).size).toBe(4);
    expect(first.moved.slice(0, 2)).toEqual([0, 0]);
    // Adam's direction is near ±1 on the same batch again and again, so a step moves by about the rate.
    expect(first.moved[2]).toBeGreaterThan(0.07);
    expect(first.moved[2]).toBeLessThan(0.13);
    expect(first.moved[3]).toBeGreaterThan(0.14);
    expect(first.moved[3]).toBeLessThan(0.26);
  });

  it("updates part by part as all at once", async () => {
    const run = async (wholeSize: number, joinedSize: number, micro: number): Promise<unknown> => {
      const model = tinyModel();
      const stepper = new Stepper({
        model,
        engine,
        optimizer: adamW(),
        maxGradNorm: 0.5,
        seed: 0,
        wholeSize,
        joinedSize,
      });
      const losses: number[] = [];
      for (let step = 1; step <= 4; step++)
        losses.push(
          (
            await stepper.step({
              batches: Array.from({ length: micro }, (_, i) => tinyBatch(step + i)),
              firstBatch: step,
              step,
              learningRate: 0.05,
            })
          ).loss,
        );
      await stepper.dispose();
      return [losses, Object.entries(model.trainable()).map(([name, { data }]) => [name, Array.from(data)])];
    };
    for (const [joinedSize, micro] of [
      [0, 1],
      [8, 1],
      [1000, 1],
      [8, 2],
    ] as const) {
      const [whole, parts] = [await run(1000, joinedSize, micro), await run(0, joinedSize, micro)];
      const numbers = (value: unknown): number[] => (JSON.stringify(value).match(/-?\d[\d.e-]*/gu) ?? []).map(Number);
      expect(numbers(parts)).toHaveLength(numbers(whole).length);
      numbers(whole).forEach((value, i) => expect(Math.abs(value - (numbers(parts)[i] as number))).toBeLessThan(1e-6));
    }
  });

  it("keeps the number of tensors and buffers constant over 200 steps", async () => {
    const model = tinyModel();
    const stepper = new Stepper({ model, engine, optimizer: adamW(), maxGradNorm: 1, seed: 0 });
    const buffers = new Set<unknown>();
    let before = 0;
    for (let step = 1; step <= 200; step++) {
      await stepper.step({ batches: [tinyBatch(step)], firstBatch: step, step, learningRate: 0.01 });
      if (step === 2) before = tf.memory().numTensors;
      buffers.add(model.trainable()["out.weight"]?.data);
    }
    expect(tf.memory().numTensors).toBe(before);
    expect(buffers.size).toBe(1);
    await stepper.dispose();
  });
});
