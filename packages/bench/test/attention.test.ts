import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HostTensor, Named } from "@peftjs/core";
import { loadTask } from "@peftjs/data";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fineTune, openTextModel, pluginsOf, readExperiment, registeredMethods, rowOf } from "../src/index.ts";
import { writeTinyModel } from "./tinyModel.ts";

let folder: string;
let engine: Engine;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "peftjs-attention-"));
  await writeTinyModel(join(folder, "model"));
  engine = await createEngine({ kind: "onnx", threads: 1 });
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const task = loadTask("wn-supersense");
const { methods, variants } = readExperiment("attention");

/** Thirty steps on one batch: the losses, and all that learned. */
async function trained(
  name: string,
): Promise<{ readonly losses: readonly number[]; readonly tensors: Named<HostTensor> }> {
  const row = rowOf(name, variants);
  const text = await openTextModel({ folder: join(folder, "model"), scheme: task, maxLength: 16, newHead: true });
  const losses: number[] = [];
  const { model } = await fineTune({
    ...{ text, engine, batchSize: 8, seed: 5, loggers: [{ step: ({ loss }) => losses.push(loss) }] },
    method: registeredMethods().get(row.method),
    methodConfig: { ...row.config, modulesToSave: ["classifier"] },
    plugins: pluginsOf(row.plugins),
    train: task.train.slice(0, 8),
    training: { maxSteps: 30, learningRate: 0.003, schedule: "constant" },
  });
  return { losses, tensors: model.trainable() };
}

function headOf(tensors: Named<HostTensor>): number[] {
  const name = Object.keys(tensors).find((key) => key.endsWith("classifier.weight")) ?? "";
  return Array.from(tensors[name]?.data ?? []);
}

describe("the rows of the preset attention", () => {
  it.each([...methods])("%s: the loss falls, and the head learns", async (name) => {
    const { base } = await openTextModel({ folder: join(folder, "model"), scheme: task, newHead: true });
    const { losses, tensors } = await trained(name);
    expect(losses.at(-1)).toBeLessThan(0.98 * losses[0]!);
    const start = base.parameters.get("classifier.weight")?.data ?? [];
    expect(headOf(tensors)).toHaveLength(start.length);
    expect(headOf(tensors)).not.toEqual(Array.from(start));
    const names = Object.keys(tensors);
    expect(names.some((key) => key.includes("query"))).toBe(true);
    expect(names.some((key) => key.includes("value"))).toBe(true);
    expect(names.some((key) => key.includes("key."))).toBe(name.includes("-qkv"));
  });
});
