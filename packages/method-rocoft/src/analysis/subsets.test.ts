import { PeftModel } from "@peftjs/core";
import type { Method } from "@peftjs/core";
import { fromPretrained } from "@peftjs/models";
import { expect, it } from "vitest";
import { everything } from "../../test/reluNet.ts";
import { rocoft } from "../index.ts";
import { all, biases, columns, noEmbeddings, noHead, reportOf, rows, select, trained } from "./subsets.ts";
import type { Subset } from "./subsets.ts";

/** BERT with two blocks of 16 features, 24 in between, 60 tokens, 24 positions, 2 types, 3 labels. */
const base = await fromPretrained(new URL("../../../../fixtures/lora/bert-patterns/base", import.meta.url).pathname);

async function modelWith(method: Method | null, config: object = {}): Promise<PeftModel> {
  const model = new PeftModel(base);
  if (method !== null) await model.attach({ method, config });
  return model;
}

const sizeOf = (model: PeftModel, subset: Subset): number => reportOf(select(model, subset)).size;

const BLOCK = 2 * (4 * 16 * 16 + 2 * 16 * 24);
const BLOCK_BIASES = 2 * (5 * 16 + 24);
const TABLES = (60 + 24 + 2) * 16;
const NORMS = 5 * 2 * 16;
const POOLER = 16 * 16 + 16;
const HEAD = 16 * 3 + 3;
const TOTAL = BLOCK + BLOCK_BIASES + TABLES + NORMS + POOLER + HEAD;

it("parts of the base model", async () => {
  const model = await modelWith(null);
  expect(sizeOf(model, all)).toBe(TOTAL);
  expect(sizeOf(model, noHead)).toBe(TOTAL - HEAD);
  expect(sizeOf(model, noEmbeddings)).toBe(TOTAL - TABLES);
  expect(sizeOf(model, biases)).toBe(BLOCK_BIASES + NORMS / 2 + 16 + 3);
  const perRow = 2 * (5 * 16 + 24) + 16;
  expect(sizeOf(model, rows(1))).toBe(perRow);
  expect(sizeOf(model, columns(1))).toBe(2 * (5 * 16 + 24) + 16);
  // The head has three rows, the other layers at least sixteen.
  expect(sizeOf(model, rows(4, { head: true }))).toBe(4 * perRow + 3 * 16);
  expect(sizeOf(model, rows(1000))).toBe(BLOCK + 16 * 16);
  expect(sizeOf(model, columns([0, 20]))).toBe(2 * (5 * 16 + 24) + 16 + 2 * 16);
});

it("what RoCoFT trains: its rows, and on request the biases and the head", async () => {
  const model = await modelWith(rocoft as unknown as Method, { rank: 3 });
  const slices = 3 * 2 * (5 * 16 + 24);
  expect(sizeOf(model, trained())).toBe(slices);
  expect(sizeOf(model, trained({ biases: true }))).toBe(slices + BLOCK_BIASES);
  expect(sizeOf(model, trained({ biases: true, head: true }))).toBe(slices + BLOCK_BIASES + HEAD);
  expect(sizeOf(model, trained({ biases: true, head: true }))).toBe(model.trainableReport().trainable);
  expect(sizeOf(model, all)).toBe(TOTAL);
});

it("biases that are trained beside the rows, of the whole model, and without rows", async () => {
  const whole = await modelWith(rocoft as unknown as Method, {
    rank: 1,
    bias: "all",
    norms: "train",
    modulesToSave: [],
  });
  const slices = 2 * (5 * 16 + 24);
  expect(sizeOf(whole, trained())).toBe(slices);
  expect(sizeOf(whole, trained({ biases: true, head: true }))).toBe(whole.trainableReport().trainable);
  const alone = await modelWith(rocoft as unknown as Method, { rank: 0 });
  expect(sizeOf(alone, trained())).toBe(BLOCK_BIASES);
});

it("a method that trains the model's own parameters, and none that learns", async () => {
  const model = await modelWith(everything);
  expect(sizeOf(model, trained())).toBe(TOTAL - HEAD);
  expect(sizeOf(model, trained({ head: true }))).toBe(TOTAL);
  const report = reportOf(select(model, trained()));
  expect(report.parameters).toContainEqual({ name: "bert.pooler.dense.bias", size: 16, of: 16 });
  model.setLearning([]);
  expect(() => select(model, trained())).toThrow(expect.objectContaining({ code: "SUBSET_EMPTY" }));
});
