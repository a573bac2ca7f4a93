import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter } from "@peftjs/core";
import type { HostTensor, Method } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { fromPretrained } from "@peftjs/models";
import { compiledEngine, eagerEngine } from "@peftjs/testkit";
import {
  describeReference,
  loadReference,
  readReference,
  readTensors,
  referenceBatch,
  relativeDifference,
  trainLike,
} from "@peftjs/testkit/conformance";
import { Trainer } from "@peftjs/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { adalora } from "./method.ts";

/** Written by fixtures/adalora/make.py with the Python libraries. */
const folder = new URL("../../../../fixtures/adalora/roberta", import.meta.url);
const path = fileURLToPath(folder);
const method = adalora as unknown as Method;
const methods = new MethodRegistry().use(adalora);

type Pattern = Readonly<Record<string, readonly boolean[]>>;
const { patterns } = JSON.parse(readFileSync(join(path, "losses.json"), "utf8")) as {
  patterns: Record<string, Pattern>;
};

describeReference(adalora, { folders: [folder] });

describe.each([
  ["compiled", compiledEngine],
  ["eager", eagerEngine],
] as const)("Python's run, %s", (_, settings) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine(settings);
  });

  it("has the same importance and keeps the same triplets after every step that prunes", async () => {
    const reference = await readReference(folder);
    const model = await loadReference(reference, { method, stage: "start" });
    const { state, params } = model.adapters.get("default")!;
    const ours: Record<string, Pattern> = {};
    const afterStep = model.afterStep.bind(model);
    model.afterStep = async (step, ...rest) => {
      await afterStep(step, ...rest);
      if (step in patterns) ours[step] = kept(state);
      // What is out for good stays out; before that it may grow back.
      if (step >= 15)
        for (const [name, list] of Object.entries(patterns["15"]!)) {
          const e = params.get(`${name}.e`)!.data;
          list.forEach((stays, i) => expect(e[i] === 0, `${name} ${i} after step ${step}`).toBe(!stays));
        }
      if (step === 20)
        for (const [key, expected] of reference.values) {
          const found = /^(sensitivity|uncertainty)\.(.*)\.lora_([ABE])$/u.exec(key);
          if (found === null) continue;
          const [, kind = "", layer = "", letter = ""] = found;
          const short = `${letter.toLowerCase()}${kind.replace(/^./u, (first) => first.toUpperCase())}`;
          expect(relativeDifference(state.get(`${layer}.${short}`)!.data, expected.data), key).toBeLessThan(1e-3);
        }
    };
    await trainLike(reference, { model, engine, training: {} });
    expect(ours).toEqual(patterns);
  });

  it("trains on with the ranks of a pruned file, one of them zero", async () => {
    const reference = await readReference(folder);
    const model = await loadReference(reference, { method, stage: "final" });
    const { params, buffers, state } = model.adapters.get("default")!;
    expect([...buffers.values()].some(({ shape }) => shape.includes(0))).toBe(true);
    expect(state.size).toBe(0);
    const shapes = (): string[] => [...params.values()].map(({ shape }) => shape.join());
    const before = shapes();
    const losses = await trainLike(reference, { model, engine, training: {} });
    expect(shapes()).toEqual(before);
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
  });
});

function kept(state: ReadonlyMap<string, HostTensor>): Pattern {
  const masks = [...state].filter(([key]) => key.endsWith(".mask"));
  return Object.fromEntries(
    masks.map(([key, { data }]) => [key.slice(0, -".mask".length), [...data].map((x) => x === 1)]),
  );
}

describe("files", () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), "peftjs-adalora-"));
  });
  afterAll(() => {
    rmSync(dir, { recursive: true, force: true });
  });

  const config = (at: string): Record<string, unknown> => {
    const json = JSON.parse(readFileSync(join(at, "adapter_config.json"), "utf8")) as Record<string, unknown>;
    return { ...json, target_modules: [...(json["target_modules"] as string[])].sort() };
  };
  const tensors = (at: string): Promise<Map<string, HostTensor>> => readTensors(join(at, "adapter_model.safetensors"));

  it.each(["fresh", "start", "final"])("%s: saved again is what Python wrote", async (stage) => {
    const model = await loadReference({ folder: path }, { method, stage });
    await saveAdapter(model, { dir: join(dir, stage) });
    expect(new Map([...(await tensors(join(dir, stage)))].sort())).toEqual(
      new Map([...(await tensors(join(path, stage)))].sort()),
    );
    const [own, reference] = [config(join(dir, stage)), config(join(path, stage))];
    expect(own).toEqual({ ...reference, base_model_name_or_path: own["base_model_name_or_path"] });
  });

  it("a run here ends in the names, shapes and pattern of Python's", async () => {
    const reference = await readReference(folder);
    const model = await loadReference(reference, { method, stage: "start" });
    await trainLike(reference, { model, engine: await createEngine(compiledEngine), training: {} });
    await saveAdapter(model, { dir: join(dir, "run") });
    const [ours, theirs] = await Promise.all([tensors(join(dir, "run")), tensors(join(path, "final"))]);
    expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
    for (const [key, { shape }] of theirs) expect(ours.get(key)!.shape, key).toEqual(shape);
    expect(config(join(dir, "run"))).toMatchObject({
      ...{ rank_pattern: config(join(path, "final"))["rank_pattern"], total_step: 20, tinit: 3, tfinal: 5 },
    });
  });

  it("the same seed draws the adapter that torch draws, on the layers that Python targets", async () => {
    const model = await peft(await fromPretrained(join(path, "base")))
      .use(adalora, { initRank: 6, targetRank: 3, totalSteps: 20 }, { seed: 11 })
      .apply();
    const { params } = (await loadReference({ folder: path }, { method, stage: "fresh" })).adapters.get("default")!;
    const own = model.adapters.get("default")!.params;
    expect([...own.keys()].sort()).toEqual([...params.keys()].sort());
    for (const [key, { data }] of params) {
      if (key.endsWith(".e")) expect([...own.get(key)!.data]).toEqual([...data]);
      else expect(relativeDifference(own.get(key)!.data, data), key).toBeLessThan(1e-6);
    }
  });

  it("shares of the run are whole steps in its file, and an adapter saved before training still loads", async () => {
    const reference = await readReference(folder);
    const base = await fromPretrained(join(path, "base"));
    const model = await peft(base).use(adalora, { initRank: 4, targetRank: 2, tinit: 0.25, tfinal: 0.25 }).apply();
    await saveAdapter(model, { dir: join(dir, "untrained") });
    expect(config(join(dir, "untrained"))).toMatchObject({ tinit: 0, tfinal: 0, total_step: 1, rank_pattern: null });
    await loadAdapter(new PeftModel(base), { dir: join(dir, "untrained"), methods });
    const trainer = new Trainer({
      model,
      engine: await createEngine(compiledEngine),
      train: { batchesPerEpoch: 8, batchAt: (index) => referenceBatch(reference, index) },
      config: { epochs: 1, evalEvery: "never" },
    });
    await trainer.train();
    await trainer.dispose();
    await saveAdapter(model, { dir: join(dir, "shares") });
    const written = config(join(dir, "shares"));
    expect(written).toMatchObject({ tinit: 2, tfinal: 2, total_step: 8 });
    const left = Object.values(written["rank_pattern"] as Pattern)
      .flat()
      .filter(Boolean).length;
    expect(left).toBeLessThanOrEqual(2 * 12);
    expect(left).toBeGreaterThan(0);
  });
});
