import { describe, expect, it } from "vitest";
import { collate } from "./collate.ts";
import { encodeRows } from "./examples.ts";
import type { Example } from "./examples.ts";
import { collateMasked } from "./masked.ts";
import { createBatchPlan, createEvaluationBatches } from "./plans.ts";

/** Examples of rising length; the label is the number of the example. */
function examplesOf(lengths: readonly number[]): Example[] {
  return lengths.map((length, label) => ({ inputIds: Int32Array.from({ length }, (_, i) => i + 1), label }));
}

const LENGTHS = Array.from({ length: 53 }, (_, i) => 1 + ((i * 37) % 60));
const OPTIONS = { batchSize: 8, padTokenId: 0, bucketLengths: [16, 32, 64] };

function labelsIn(batch: ReturnType<typeof collate>): number[] {
  const weights = batch["row_weights"]?.data ?? [];
  return Array.from(batch["labels"]?.data ?? []).filter((_, row) => weights[row] === 1);
}

describe("collate", () => {
  it("pads texts and fills up rows with weight 0", () => {
    const batch = collate(
      [
        { inputIds: [5, 6, 7], tokenTypeIds: [0, 1, 1], label: 2 },
        { inputIds: [8], label: 1 },
      ],
      { padTokenId: 9, length: 4, batchSize: 3 },
    );
    expect(batch).toEqual({
      input_ids: { dtype: "int32", shape: [3, 4], data: Int32Array.of(5, 6, 7, 9, 8, 9, 9, 9, 9, 9, 9, 9) },
      attention_mask: { dtype: "int32", shape: [3, 4], data: Int32Array.of(1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0) },
      token_type_ids: { dtype: "int32", shape: [3, 4], data: Int32Array.of(0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0) },
      row_weights: { dtype: "float32", shape: [3], data: Float32Array.of(1, 1, 0) },
      labels: { dtype: "int32", shape: [3], data: Int32Array.of(2, 1, 0) },
    });
  });

  it("keeps values of regression and leaves labels out when there are none", () => {
    const values = collate([{ inputIds: [1], label: 2.5 }], { padTokenId: 0, length: 1, labelType: "float32" });
    expect(values["labels"]).toEqual({ dtype: "float32", shape: [1], data: Float32Array.of(2.5) });
    expect(collate([{ inputIds: [1] }], { padTokenId: 0, length: 1 })).not.toHaveProperty("labels");
  });

  it("refuses what does not fit", () => {
    const error = (code: string) => expect.objectContaining({ code });
    expect(() => collate(examplesOf([5]), { padTokenId: 0, length: 4 })).toThrow(error("SEQUENCE_TOO_LONG"));
    expect(() => collate(examplesOf([1, 1]), { padTokenId: 0, length: 4, batchSize: 1 })).toThrow(
      error("BATCH_TOO_LARGE"),
    );
    expect(() => collate([{ inputIds: [1], label: 0 }, { inputIds: [1] }], { padTokenId: 0, length: 4 })).toThrow(
      error("LABELS_MISSING"),
    );
  });
});

describe("createBatchPlan", () => {
  const examples = examplesOf(LENGTHS);
  const plan = () => createBatchPlan(examples, { ...OPTIONS, seed: 3 });

  it("gives every example once an epoch, in batches of constant size and bucketed length", () => {
    const { batchesPerEpoch, batchAt } = plan();
    expect(batchesPerEpoch).toBe(7);
    for (const epoch of [0, 1]) {
      const batches = Array.from({ length: batchesPerEpoch }, (_, i) => batchAt(epoch * batchesPerEpoch + i));
      expect(batches.flatMap(labelsIn).sort((a, b) => a - b)).toEqual(LENGTHS.map((_, i) => i));
      for (const batch of batches) {
        const [rows, length] = batch["input_ids"]?.shape ?? [];
        expect(rows).toBe(8);
        expect([16, 32, 64]).toContain(length);
      }
    }
  });

  it("is a function of seed and index: any batch can be asked for at any time", () => {
    const forward = plan();
    const all = Array.from({ length: 21 }, (_, i) => forward.batchAt(i));
    const backward = plan();
    for (let i = 20; i >= 0; i--) expect(backward.batchAt(i)).toEqual(all[i]);
    expect(all.slice(0, 7).map(labelsIn)).not.toEqual(all.slice(7, 14).map(labelsIn));
    const other = createBatchPlan(examples, { ...OPTIONS, seed: 4 });
    expect(other.batchAt(0)).not.toEqual(all[0]);
  });

  it("divides the same examples anew, in an order of their own", () => {
    const whole = plan();
    const before = whole.batchAt(0);
    const divided = whole.divided({ rows: 2, seed: 9 });
    expect(divided.batchesPerEpoch).toBe(27);
    const order = (epoch: number): number[] =>
      Array.from({ length: 27 }, (_, i) => labelsIn(divided.batchAt(27 * epoch + i))).flat();
    expect(order(0).toSorted((a, b) => a - b)).toEqual(LENGTHS.map((_, i) => i));
    expect(order(1)).not.toEqual(order(0));
    expect(divided.batchAt(0)["input_ids"]?.shape[0]).toBe(2);
    expect(divided.batchAt(3)).toEqual(createBatchPlan(examples, { ...OPTIONS, batchSize: 2, seed: 9 }).batchAt(3));
    expect(whole.divided({ rows: 2, seed: 10 }).batchAt(0)).not.toEqual(divided.batchAt(0));
    expect(whole.batchAt(0)).toEqual(before);
    expect(() => whole.divided({ rows: 0, seed: 9 })).toThrow(expect.objectContaining({ code: "INVALID_BATCH_SIZE" }));
  });

  it("refuses texts beyond the longest bucket, and empty data", () => {
    expect(() => createBatchPlan(examplesOf([65]), { ...OPTIONS, seed: 1 })).toThrow(
      expect.objectContaining({ code: "SEQUENCE_TOO_LONG" }),
    );
    expect(() => createBatchPlan([], { ...OPTIONS, seed: 1 })).toThrow(expect.objectContaining({ code: "DATA_EMPTY" }));
    expect(() => createBatchPlan(examples, { ...OPTIONS, batchSize: 0, seed: 1 })).toThrow(
      expect.objectContaining({ code: "INVALID_BATCH_SIZE" }),
    );
  });
});

describe("createEvaluationBatches", () => {
  it("names every example once and fills up with −1", () => {
    const { batches, batchAt } = createEvaluationBatches(examplesOf(LENGTHS), OPTIONS);
    const items = Array.from({ length: batches }, (_, i) => batchAt(i));
    const rows = items.flatMap((item) => item.rows);
    expect(rows.filter((row) => row === -1).length).toBe(3);
    expect(rows.filter((row) => row >= 0).sort((a, b) => a - b)).toEqual(LENGTHS.map((_, i) => i));
    for (const { batch, rows: numbers } of items) {
      numbers.forEach((row, i) => expect(batch["row_weights"]?.data[i]).toBe(row >= 0 ? 1 : 0));
      expect(labelsIn(batch)).toEqual(numbers.filter((row) => row >= 0));
    }
  });
});

describe("collateMasked", () => {
  const MASK = 4;
  const options = {
    padTokenId: 0,
    maskTokenId: MASK,
    vocabularySize: 1000,
    specialTokenIds: [2, 3],
    length: 64,
    rate: 0.2,
    batchSize: 64,
    seed: 7,
  };
  const texts = Array.from({ length: 60 }, (_, row) => ({
    inputIds: [2, ...Array.from({ length: 30 + (row % 30) }, (__, i) => 100 + ((row * 31 + i) % 800)), 3],
  }));
  const batch = collateMasked(texts, { ...options, index: 0 });
  const plain = collate(texts, { padTokenId: 0, length: 64, batchSize: 64 });

  it("hides ordinary tokens only, and labels them with what stood there", () => {
    const capacity = Math.floor(0.2 * 64 * 64);
    const before = plain["input_ids"]?.data ?? [];
    const after = batch["input_ids"]?.data ?? [];
    const positions = batch["masked_positions"]?.data ?? [];
    const labels = batch["masked_labels"]?.data ?? [];
    const weights = batch["masked_weights"]?.data ?? [];
    expect(positions.length).toBe(capacity);
    const used = Array.from(positions).filter((_, i) => weights[i] === 1);
    expect(new Set(used).size).toBe(used.length);
    const ordinary = Array.from(before).filter((id) => id >= 100).length;
    expect(used.length).toBe(Math.ceil(0.2 * ordinary));
    used.forEach((place, i) => expect(labels[i]).toBe(before[place]));
    const touched = new Set(used);
    before.forEach((id, place) => {
      if (!touched.has(place)) expect(after[place]).toBe(id);
    });
    const masked = used.filter((place) => after[place] === MASK).length / used.length;
    const kept = used.filter((place) => after[place] === before[place]).length / used.length;
    expect(Math.abs(masked - 0.8)).toBeLessThan(0.06);
    expect(Math.abs(kept - 0.1)).toBeLessThan(0.05);
  });

  it("is a function of seed and index", () => {
    expect(collateMasked(texts, { ...options, index: 0 })).toEqual(batch);
    expect(collateMasked(texts, { ...options, index: 1 })).not.toEqual(batch);
  });

  it("refuses a rate that masks nothing", () => {
    expect(() => collateMasked(texts, { ...options, rate: 0, index: 0 })).toThrow(
      expect.objectContaining({ code: "INVALID_MASK_RATE" }),
    );
  });
});

describe("encodeRows", () => {
  it("numbers labels by the scheme", () => {
    const encode = (text: string) => ({ inputIds: [text.length] });
    const scheme = { kind: "classification", labels: ["no", "yes"] } as const;
    expect(encodeRows([{ text: "abc", label: "yes" }], { encode, scheme })).toEqual([{ inputIds: [3], label: 1 }]);
    expect(encodeRows([{ text: "abc", label: "yes" }], { encode })).toEqual([{ inputIds: [3] }]);
    expect(() => encodeRows([{ text: "abc", label: "maybe" }], { encode, scheme })).toThrow(
      expect.objectContaining({ code: "LABEL_UNKNOWN" }),
    );
  });
});
