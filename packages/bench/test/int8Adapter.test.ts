import { fileURLToPath } from "node:url";
import { modelPath } from "@peftjs/base-mini";
import { loadAdapter, openSafetensors, PeftModel } from "@peftjs/core";
import type { HostTensor, TensorSource } from "@peftjs/core";
import { loadTask } from "@peftjs/data";
import { createEngine } from "@peftjs/engine";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openTextModel, registeredMethods } from "../src/index.ts";

/** Made by tools/reference/src/int8Adapter.ts: an adapter trained on weights of eight bits, and Python's logits with it on float32. */
const fixture = (name: string): string => fileURLToPath(new URL(`../../../fixtures/int8/${name}`, import.meta.url));
const BATCHES = 2;
/** ‖l₈ − l‖/‖l‖ of the logits, a good twice what was measured (5.3 %): each of 24 layers is off by 1.5 %, and the error of one goes into the next. */
const QUANTIZATION = 0.12;

let sources: readonly [TensorSource, TensorSource];
let expected: readonly number[];
beforeAll(async () => {
  sources = [
    await openSafetensors(fixture("batches.safetensors")),
    await openSafetensors(fixture("logits.safetensors")),
  ];
  expected = [...(await sources[1].tensor("ia3")).data];
});
afterAll(() => Promise.all(sources.map((source) => source.close())));

describe("an adapter that was trained on a base of eight bits", () => {
  it("has Python's logits on the base in float32", async () => {
    const logits = await logitsOn("float32");
    const largest = Math.max(...expected.map(Math.abs));
    expect(Math.max(...logits.map((value, i) => Math.abs(value - expected[i]!))) / largest).toBeLessThan(1e-5);
  });

  it("has them within the error of the quantization on the base it was trained on", async () => {
    const logits = await logitsOn("int8");
    const distance = Math.hypot(...logits.map((value, i) => value - expected[i]!)) / Math.hypot(...expected);
    expect(distance).toBeLessThan(QUANTIZATION);
    // Else the products were no products of integers.
    expect(distance).toBeGreaterThan(QUANTIZATION / 10);
    const labels = predictions(expected);
    const equal = predictions(logits).filter((label, row) => label === labels[row]);
    expect(equal.length / labels.length).toBeGreaterThan(0.95);
  });
});

async function logitsOn(frozen: "float32" | "int8"): Promise<number[]> {
  const text = await openTextModel({ folder: modelPath, scheme: loadTask("wn-hypernym3"), newHead: true, frozen });
  const model = new PeftModel(text.base);
  await loadAdapter(model, { dir: fixture("ia3"), methods: registeredMethods() });
  const engine = await createEngine({ kind: "onnx", threads: 1 });
  const program = engine.compile(({ frozen: weights = {}, trainable = {}, batch = {} }) => ({
    results: { logits: model.forward({ frozen: weights, trainable }, batch, { training: false })["logits"]! },
  }));
  const found: number[] = [];
  for (let i = 0; i < BATCHES; i++) {
    const names = ["input_ids", "attention_mask", "token_type_ids"];
    const batch = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await read(`${name}.${i}`)])));
    const { results } = await program.run({ frozen: model.frozen(), trainable: model.trainable(), batch });
    found.push(...results!["logits"]!.data);
  }
  await program.dispose();
  return found;
}

async function read(name: string): Promise<HostTensor> {
  const { shape, data } = await sources[0].tensor(name);
  return { dtype: "int32", shape, data: Int32Array.from(data) };
}

function predictions(logits: readonly number[]): number[] {
  return Array.from({ length: logits.length / 3 }, (_, row) => {
    const own = logits.slice(3 * row, 3 * row + 3);
    return own.indexOf(Math.max(...own));
  });
}
