import { adalora, lora, dora } from "@peftjs/method-lora-family";
import { full } from "@peftjs/method-classic";
import { createEngine } from "@peftjs/engine";
import { createGenerator, defineTrainingPlugin, peft } from "@peftjs/core";
import { Stepper, sgd, adamW } from "@peftjs/train";
import { compiledEngine, eagerEngine, scratchFolders } from "@peftjs/testkit";
import { subject, batchAt, tinyModel } from "@peftjs/testkit/conformance";
import { expect, it } from "vitest";
import { suiteOf, pluginChecks } from "../../testkit/src/conformance/plugins/describePlugin.ts";
import { run } from "../../testkit/src/conformance/plugins/run.ts";
import { turns, plain } from "../../testkit/test/toys.ts";
import { z } from "zod";
const folder = scratchFolders();
const options = { config: { every: 1 }, changed: { every: 3 }, neutral: [{ name: "all", config: { all: true } }], interruptedAfter: [1, 2, 3] };
it.each(pluginChecks)("adalora: $name", async ({ check }) => {
  const engine = await createEngine(compiledEngine);
  await check({ suite: suiteOf(turns, options), subject: subject(adalora, { initR: 4, targetR: 2, tinit: 1, tfinal: 1, deltaT: 1 } as never), family: "bert", engine, folder });
});
it("seed at the end of its range", async () => {
  const engine = await createEngine(compiledEngine);
  await run({ suite: suiteOf(turns, options), subject: subject(lora, { rank: 2 }), family: "bert", engine, folder }, { training: { seed: 2 ** 31 - 1 } });
});
it("record in start", async () => {
  const engine = await createEngine(compiledEngine);
  const early = defineTrainingPlugin({ name: "early", description: "E.", package: "e", config: z.strictObject({}), start: ({ tools }) => { tools.record({ a: 1 }); return {}; } });
  const t = await run({ suite: suiteOf(early, { config: {}, changed: {}, neutral: [] }), subject: subject(lora, { rank: 2 }), family: "bert", engine, folder }, { dir: `${folder()}/new` });
  expect(t.records).toHaveLength(1);
});
it("choices out of range", async () => {
  const engine = await createEngine(compiledEngine);
  const wrong = defineTrainingPlugin({ name: "wrong", description: "E.", package: "e", config: z.strictObject({}), start: () => ({ choosesBlocks: true, beforeStep: () => ({ blocks: [7] }) }) });
  await expect(run({ suite: suiteOf(wrong, { config: {}, changed: {}, neutral: [] }), subject: subject(lora, { rank: 2 }), family: "bert", engine, folder })).rejects.toThrow();
});
for (const parts of [1, 2]) it(`in parts, apart, joined or not: the same (${parts})`, async () => {
  const engine = await createEngine(compiledEngine);
  const results: Record<string, unknown>[] = [];
  for (const o of [{}, { wholeSize: 0 }, { wholeSize: 0, joinedSize: 0 }, { joinedSize: 0 }]) {
    const model = await peft(tinyModel("bert", { blocks: 4 })).use(full, {}).use(plain, { momentum: 0.5, refreshEvery: 2 }).apply();
    const rules = model.plugins;
    const stepper = new Stepper({ model, engine, optimizer: sgd({ momentum: 0.5, weightDecay: 0.1 }), maxGradNorm: 0.1, seed: 1, choosesBlocks: true, ...o });
    const losses: number[] = [];
    for (let step = 1; step <= 8; step++)
      losses.push((await stepper.step({ batches: Array.from({ length: parts }, (_, i) => batchAt("bert", step * parts + i)), firstBatch: 0, step, learningRate: 0.05, blocks: [[0], [1, 3], [2], [3], [0, 1], [2], [], [1]][step - 1] })).loss);
    results.push({ losses, p: Object.fromEntries(Object.entries(model.trainable()).map(([k, v]) => [k, Array.from(v.data)])), u: stepper.updates });
    await stepper.dispose(); void rules;
  }
  const [a, ...rest] = results as { losses: number[]; p: Record<string, number[]>; u: object }[];
  for (const b of rest) {
    expect(b.u).toEqual(a!.u);
    let worst = 0;
    for (const k of Object.keys(a!.p)) a!.p[k]!.forEach((v, i) => (worst = Math.max(worst, Math.abs(v - b.p[k]![i]!))));
    console.log("worst", worst, a!.losses.map((l, i) => l - b.losses[i]!));
    expect(worst).toBeLessThan(1e-5);
  }
});
