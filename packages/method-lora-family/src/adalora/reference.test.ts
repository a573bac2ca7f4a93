import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter } from "@peftjs/core";
import type { HostTensor, Method } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { fromPretrained } from "@peftjs/models";
import { compiledEngine, scratchFolders } from "@peftjs/testkit";
import {
  describeOnEngines,
  describeReference,
  expectSameFiles,
  expectSameStart,
  loadReference,
  readAdapterConfig,
  readAdapterTensors,
  readReference,
  relativeDifference,
  trainLike,
} from "@peftjs/testkit/conformance";
import { describe, expect, it } from "vitest";
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

describeOnEngines("Python's run", (engine) => {
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
    await trainLike(reference, { model, engine: engine() });
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
    const losses = await trainLike(reference, { model, engine: engine() });
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
  const fresh = scratchFolders();

  it.each(["fresh", "start", "final"])("%s: saved again is what Python wrote", async (stage) => {
    const model = await loadReference({ folder: path }, { method, stage });
    await expectSameFiles(await saveAdapter(model, { dir: fresh() }), join(path, stage));
  });

  it("a run here ends in the names, shapes and pattern of Python's", async () => {
    const reference = await readReference(folder);
    const model = await loadReference(reference, { method, stage: "start" });
    await trainLike(reference, { model, engine: await createEngine(compiledEngine) });
    const [dir, final] = [await saveAdapter(model, { dir: fresh() }), join(path, "final")];
    const [ours, theirs] = await Promise.all([readAdapterTensors(dir), readAdapterTensors(final)]);
    expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
    for (const [key, { shape }] of theirs) expect(ours.get(key)!.shape, key).toEqual(shape);
    expect(readAdapterConfig(dir)).toMatchObject({
      ...{ rank_pattern: readAdapterConfig(final)["rank_pattern"], total_step: 20, tinit: 3, tfinal: 5 },
    });
  });

  it("the same seed draws the adapter that torch draws, on the layers that Python targets", async () => {
    const model = await peft(await fromPretrained(join(path, "base")))
      .use(adalora, { initRank: 6, targetRank: 3, totalSteps: 20 }, { seed: 11 })
      .apply();
    const { params } = (await loadReference({ folder: path }, { method, stage: "fresh" })).adapters.get("default")!;
    expectSameStart(model.adapters.get("default")!.params, params);
  });

  it("shares of the run are whole steps in its file, and an adapter saved before training still loads", async () => {
    const reference = await readReference(folder);
    const base = await fromPretrained(join(path, "base"));
    const model = await peft(base).use(adalora, { initRank: 4, targetRank: 2, tinit: 0.25, tfinal: 0.25 }).apply();
    const untrained = await saveAdapter(model, { dir: fresh() });
    expect(readAdapterConfig(untrained)).toMatchObject({ tinit: 0, tfinal: 0, total_step: 1, rank_pattern: null });
    await loadAdapter(new PeftModel(base), { dir: untrained, methods });
    const engine = await createEngine(compiledEngine);
    await trainLike(reference, { model, engine, training: { maxSteps: 8 } });
    const written = readAdapterConfig(await saveAdapter(model, { dir: fresh() }));
    expect(written).toMatchObject({ tinit: 2, tfinal: 2, total_step: 8 });
    const left = Object.values(written["rank_pattern"] as Pattern)
      .flat()
      .filter(Boolean).length;
    expect(left).toBeLessThanOrEqual(2 * 12);
    expect(left).toBeGreaterThan(0);
  });
});
