import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HostTensor, Method, Named, PeftModel } from "@peftjs/core";
import { loadTask } from "@peftjs/data";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import type { StepEvent } from "@peftjs/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MethodsFile } from "../src/experiment.ts";
import { fineTune, openTextModel, pluginsOf, registeredMethods, registeredPlugins, rowOf } from "../src/index.ts";
import type { TextModel } from "../src/index.ts";
import { writeTinyModel } from "./tinyModel.ts";

let folder: string;
let text: TextModel;
let eight: TextModel;
let engine: Engine;
const task = loadTask("bshift");
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "peftjs-finetune-"));
  await writeTinyModel(join(folder, "model"));
  const options = { folder: join(folder, "model"), scheme: task, maxLength: 32, newHead: true };
  [text, eight] = [await openTextModel(options), await openTextModel({ ...options, frozen: "int8" })];
  engine = await createEngine({ kind: "onnx", threads: 1 });
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Run {
  readonly outputDir: string;
  readonly resume?: boolean;
  readonly stopAfter?: number;
}

/** Additions; plug-ins act several times in six steps. */
const plugged = {
  "+int8": { frozen: "int8" },
  "+ist": { plugins: { ist: { interval: 2, importanceBatchSize: 4 } } },
  galore: {
    method: "full",
    config: { targetRoles: ["query", "value"] },
    plugins: { galore: { rank: 2, updateProjGap: 2 } },
  },
} satisfies MethodsFile;
const rows = [
  ...registeredMethods()
    .list()
    .map(({ name }) => name),
  ...["lora+ist", "lora+rst", "galore", "lora+attention-rates"],
  // One that leaves frozen weights alone, one that replaces them, and one that learns rows of them.
  ...["lora+int8", "pissa+int8", "rocoft+int8"],
];

/** Six steps over 24 rows: what the model holds at the end, and the losses. */
async function run(name: string, { outputDir, resume = false, stopAfter }: Run) {
  const { method, config, plugins, frozen } = rowOf(name, plugged);
  const controller = new AbortController();
  const losses: number[] = [];
  const step = (event: StepEvent): void => {
    losses.push(event.loss);
    if (event.step === stopAfter) controller.abort();
  };
  const { model } = await fineTune({
    ...{ engine, batchSize: 8, seed: 5, loggers: [{ step }], signal: controller.signal },
    text: frozen === undefined ? text : eight,
    method: registeredMethods().get(method),
    methodConfig: config,
    plugins: pluginsOf(plugins),
    train: task.train.slice(0, 24),
    training: { maxSteps: 6, learningRate: 0.01, outputDir, resume },
  });
  return { losses, tensors: tensorsOf(model) };
}

function tensorsOf(model: PeftModel): Named<unknown> {
  const values = (tensors: Named<HostTensor>): object =>
    Object.fromEntries(Object.entries(tensors).map(([key, { data }]) => [key, data]));
  return {
    frozen: values(model.frozen() as Named<HostTensor>),
    ...values(model.trainable()),
    ...values(model.state()),
  };
}

describe("a fine-tuning that is stopped", () => {
  it.each(rows)("%s: goes on bit by bit, from the start that seed and rows decide", async (name) => {
    const whole = await run(name, { outputDir: join(folder, `${name}-whole`) });
    const outputDir = join(folder, name);
    const part = await run(name, { outputDir, stopAfter: 3 });
    expect(part.losses).toHaveLength(3);
    const rest = await run(name, { outputDir, resume: true });
    expect([...part.losses, ...rest.losses]).toEqual(whole.losses);
    expect(rest.tensors).toEqual(whole.tensors);
  });

  it("is tried with every plug-in", () => {
    const used = rows.flatMap((name) => Object.keys(rowOf(name, plugged).plugins));
    expect(new Set(used)).toEqual(new Set(registeredPlugins().map(({ name }) => name)));
  });
});

describe("calibration", () => {
  it("sees the training batches in their order, however often it asks, through the run's engine", async () => {
    const lora = registeredMethods().get("lora");
    const passes: (readonly number[])[][] = [];
    const widths: number[] = [];
    const method: Method = {
      ...lora,
      calibrate: async ({ batches, layerInputs, sites }) => {
        for (let pass = 0; pass < 2; pass++)
          passes.push(Array.from(batches ?? [], ({ input_ids: ids }) => Array.from(ids?.data ?? [])));
        for (const batch of batches ?? []) {
          const inputs = await layerInputs(batch);
          widths.push(...sites.map(({ path }) => inputs.get(path)?.shape[1] ?? 0));
          break;
        }
        return {};
      },
    };
    const seen: number[][] = [];
    const recording: Engine = {
      ...{ name: engine.name, device: engine.device, backend: engine.backend },
      compile: (fn, options) => {
        const program = engine.compile(fn, options);
        const run: typeof program.run = (args, into) => {
          if (args["trainable"] !== undefined) seen.push(Array.from(args["batch"]?.["input_ids"]?.data ?? []));
          return program.run(args, into);
        };
        return { run, dispose: () => program.dispose(), counters: program.counters };
      },
    };
    await fineTune({
      ...{ text, engine: recording, method, batchSize: 8, seed: 5, train: task.train.slice(0, 24) },
      methodConfig: { targetModules: ["query"] },
      training: { maxSteps: 3, learningRate: 0.01 },
    });
    expect(passes).toEqual([seen, seen]);
    expect(seen).toHaveLength(3);
    expect(widths).toEqual([16, 16]);
  });
});
