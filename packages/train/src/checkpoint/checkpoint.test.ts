import { mkdirSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cloneTensor } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tinyEvaluation, tinyModel, tinyPlan } from "../../test/tinyModel.ts";
import { Trainer } from "../index.ts";
import type { TrainingConfigInput } from "../index.ts";

const folders: string[] = [];
const folder = (): string => {
  const path = mkdtempSync(join(tmpdir(), "peftjs-train-"));
  folders.push(path);
  return path;
};
afterAll(() => Promise.all(folders.map((path) => rm(path, { recursive: true }))));

describe("checkpoints", () => {
  let engine: Engine;
  beforeAll(async () => void (engine = await createEngine({ kind: "eager", backend: "cpu" })));
  const train = async (config: TrainingConfigInput, model = tinyModel()) => {
    const trainer = new Trainer({
      model,
      engine,
      train: tinyPlan(),
      evaluation: tinyEvaluation(),
      config: { learningRate: 0.05, ...config },
    });
    try {
      return await trainer.train();
    } finally {
      await trainer.dispose();
    }
  };
  const stepsIn = (outputDir: string): string[] => readdirSync(join(outputDir, "checkpoints")).sort();

  it("keeps the latest ones and the best", async () => {
    const outputDir = folder();
    // Accuracy of a model that does not move: the first evaluation stays the best.
    await train({
      maxSteps: 10,
      learningRate: 0,
      saveEvery: 1,
      evalEvery: 2,
      keepCheckpoints: 2,
      metricForBest: "accuracy",
      outputDir,
    });
    expect(stepsIn(outputDir)).toEqual(["step-10", "step-2", "step-9"]);
    expect(readdirSync(join(outputDir, "checkpoints/step-2")).sort()).toEqual([
      "optimizer.safetensors",
      "trainable.safetensors",
      "trainer_state.json",
    ]);
  });

  it("goes back to the last complete one when the newest was cut short", async () => {
    const outputDir = folder();
    const config = { maxSteps: 8, saveEvery: 2, evalEvery: "never", outputDir } as const;
    await train(config);
    mkdirSync(join(outputDir, "checkpoints/step-9.draft"));
    await truncate(join(outputDir, "checkpoints/step-8/optimizer.safetensors"), 10);
    const result = await train({ ...config, resume: true });
    expect(result.steps).toBe(8);
    expect(stepsIn(outputDir)).toEqual(["step-6", "step-8"]);
    const lines = readFileSync(join(outputDir, "log.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { type: string; step: number });
    expect(lines.filter(({ type }) => type === "step").map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it("refuses a used folder, other options, another model", async () => {
    const outputDir = folder();
    const config = { maxSteps: 4, outputDir } as const;
    await train(config);
    await expect(train(config)).rejects.toMatchObject({ code: "OUTPUT_NOT_EMPTY" });
    await expect(train({ ...config, maxSteps: 6, resume: true })).rejects.toMatchObject({
      code: "RESUME_MISMATCH",
      message: expect.stringContaining("totalSteps was 4, is 6") as string,
    });
    const model = tinyModel();
    const { unused: _unused, ...fewer } = model.trainable();
    model.setTrainable(fewer);
    await expect(train({ ...config, resume: true }, model)).rejects.toMatchObject({ code: "RESUME_MISMATCH" });
  });

  it("names what is wrong with the options", async () => {
    await expect(train({ learningRate: -1 })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("learningRate") as string,
    });
    await expect(train({ resume: true })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("outputDir") as string,
    });
    await expect(train({ maxSteps: 2, metricForBest: "f2" })).rejects.toMatchObject({
      code: "UNKNOWN_METRIC",
      message: expect.stringContaining("macroF1") as string,
    });
    const broken = tinyModel();
    const poisoned = Object.fromEntries(
      Object.entries(broken.trainable()).map(([name, tensor]) => [name, cloneTensor(tensor)]),
    );
    poisoned["out.bias"]?.data.fill(Number.NaN);
    broken.setTrainable(poisoned);
    await expect(train({ maxSteps: 2 }, broken)).rejects.toMatchObject({ code: "LOSS_NOT_FINITE" });
  });
});
