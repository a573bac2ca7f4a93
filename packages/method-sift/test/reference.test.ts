import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { peft, saveAdapter } from "@peftjs/core";
import type { Method } from "@peftjs/core";
import { fromPretrained } from "@peftjs/models";
import { scratchFolders } from "@peftjs/testkit";
import {
  describeOnEngines,
  describeReference,
  loadReference,
  readAdapterConfig,
  readAdapterTensors,
  readReference,
  referenceBatch,
} from "@peftjs/testkit/conformance";
import { expect, it } from "vitest";
import { sift } from "../src/index.ts";
import type { SiftConfig } from "../src/index.ts";

/** Written by fixtures/sift/make.py with torch. */
const cases = ["roberta", "bert"] as const;
const folder = (name: string): URL => new URL(`../../../fixtures/sift/${name}`, import.meta.url);
const method = sift as unknown as Method;
const fresh = scratchFolders();

describeReference(sift, { folders: cases.map(folder) });

describeOnEngines("the reference's choice", (engine) => {
  it.each(cases)("%s: the same entries by the same gradients, starting from zero", async (name) => {
    const reference = await readReference(folder(name));
    const theirs = (await loadReference(reference, { method, stage: "fresh" })).adapters.get("default")!;
    const model = await peft(await fromPretrained(join(fileURLToPath(folder(name)), "base")))
      .use(sift, theirs.config as SiftConfig)
      .apply({ batches: reference.losses.map((_, i) => referenceBatch(reference, i)), runner: engine() });
    const ours = model.adapters.get("default")!;
    expect([...ours.buffers.keys()]).toEqual([...theirs.buffers.keys()]);
    for (const [key, places] of theirs.buffers) expect(ours.buffers.get(key), key).toEqual(places);
    for (const [key, values] of theirs.params) expect(ours.params.get(key), key).toEqual(values);
    // Rounding could choose otherwise only where two scores are closer than this.
    const scores = new URL("../../../fixtures/sift/scores.json", import.meta.url);
    const distances = JSON.parse(readFileSync(scores, "utf8")) as Record<string, number>;
    expect(distances[name]).toBeGreaterThan(2e-5);
  });
});

it.each(cases)("%s: saved again, the file is the reference's", async (name) => {
  const reference = await readReference(folder(name));
  const python = join(reference.folder, "final");
  const dir = await saveAdapter(await loadReference(reference, { method, stage: "final" }), { dir: fresh() });
  expect(new Map([...(await readAdapterTensors(dir))].sort())).toEqual(
    new Map([...(await readAdapterTensors(python))].sort()),
  );
  const { base_model_name_or_path: _, target_modules, ...settings } = readAdapterConfig(python);
  expect(readAdapterConfig(dir)).toMatchObject(settings);
  expect(new Set(readAdapterConfig(dir)["target_modules"] as string[])).toEqual(new Set(target_modules as string[]));
});
