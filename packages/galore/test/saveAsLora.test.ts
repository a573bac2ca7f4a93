import { loadAdapter, matmul, MethodRegistry, peft, PeftModel } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { full } from "@peftjs/method-classic";
import { lora } from "@peftjs/method-lora-family";
import { eagerEngine, installMatchers, scratchFolders } from "@peftjs/testkit";
import { readAdapterConfig } from "@peftjs/testkit/conformance";
import { expect, it } from "vitest";
import { asMatrix } from "../src/host.ts";
import { galore, saveAsLora } from "../src/index.ts";
import { losses, referenceModel } from "./models.ts";

installMatchers();

const fresh = scratchFolders();
const engine = await createEngine(eagerEngine);
const config = { rank: 2, updateProjGap: 3, scale: 2 };

async function trained(settings: object = {}, steps = 8): Promise<PeftModel> {
  const model = await referenceModel({ ...config, ...settings });
  await losses(model, { engine, steps });
  return model;
}

function norm(values: ArrayLike<number>): number {
  return Math.hypot(...Array.from(values));
}

it("writes factors of the whole change, the biases and the head", async () => {
  const model = await trained();
  const dir = await saveAsLora(model, { dir: fresh(), steps: 8 });
  // Three windows of rank 2.
  expect(readAdapterConfig(dir)).toMatchObject({ r: 6, lora_alpha: 6, bias: "lora_only", rank_pattern: {} });
  expect(readAdapterConfig(dir)["modules_to_save"]).toContain("classifier");
  const served = new PeftModel(model.base);
  await loadAdapter(served, { dir, methods: new MethodRegistry().use(lora) });
  const [ours, theirs] = [model.trainable(), served.trainable()];
  const weights = Object.keys(ours).filter((key) => model.plugins.rule(key) !== null);
  expect(weights).toHaveLength(12);
  for (const key of weights) {
    const path = key.replace(/\.weight$/u, "");
    const factors = (["b", "a"] as const).map((name) => asMatrix(theirs[`${path}.${name}`] as HostTensor));
    const product = matmul(factors[0]!, factors[1]!).data;
    const before = model.base.parameters.get(key.slice("default.".length))?.data ?? [];
    const change = Array.from(ours[key]?.data ?? [], (value, i) => value - (before[i] as number));
    const missed = change.map((value, i) => value - (product[i] as number));
    expect(norm(missed), key).toBeLessThanOrEqual(1e-5 * norm(change));
    expect(norm(change)).toBeGreaterThan(1e-3);
  }
  // Everything else is there as it is.
  for (const [key, { data }] of Object.entries(ours).filter(([name]) => !weights.includes(name)))
    expect(theirs[key]?.data, key).toEqual(data);
});

it("gives narrow layers the rank that they can have", async () => {
  const model = await trained({ updateProjGap: 1 }, 9);
  const { rank_pattern: ranks, r } = readAdapterConfig(await saveAsLora(model, { dir: fresh(), steps: 9 }));
  expect(r).toBe(18);
  expect(new Set(Object.values(ranks as object))).toEqual(new Set([16]));
});

it("refuses what a file of factors cannot say", async () => {
  const decayed = await trained({ weightDecay: 0.5 });
  await expect(saveAsLora(decayed, { dir: fresh(), steps: 8 })).rejects.toMatchObject({ code: "NOT_LOW_RANK" });
  const plain = await referenceModel(null);
  await expect(saveAsLora(plain, { dir: fresh(), steps: 8 })).rejects.toMatchObject({ code: "PLUGIN_MISSING" });
  const mixed = await peft(plain.base)
    .use(full, { targetModules: ["value"] })
    .use(lora, { targetModules: ["query"] })
    .use(galore, config)
    .apply();
  await expect(saveAsLora(mixed, { dir: fresh(), steps: 8 })).rejects.toMatchObject({
    code: "INTERCHANGE_UNSUPPORTED",
  });
});
