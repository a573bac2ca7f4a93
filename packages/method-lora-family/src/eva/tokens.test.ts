import { float32, int32 } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { countedRows } from "./tokens.ts";

const masks = { useLabelMask: true, labelMaskValue: -100 };
const ids = int32([5, 6, 7, 8, 9, 1], [2, 3]);
/** Row i holds [i, −i]. */
const input = (rows: number) =>
  float32(
    Array.from({ length: 2 * rows }, (_, i) => (i % 2 === 0 ? i / 2 : -(i - 1) / 2)),
    [rows, 2],
  );
const rows = (...args: Parameters<typeof countedRows>) => {
  const { data, columns } = countedRows(...args);
  return Array.from(data).filter((_, i) => i % columns === 0);
};

describe("countedRows", () => {
  const attention_mask = int32([1, 1, 1, 1, 1, 0], [2, 3]);

  it("takes the tokens with attention", () => {
    expect(rows(input(6), { input_ids: ids }, masks)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(rows(input(6), { input_ids: ids, attention_mask }, masks)).toEqual([0, 1, 2, 3, 4]);
    expect(Array.from(countedRows(input(6), { input_ids: ids, attention_mask }, masks).data.slice(-2))).toEqual([
      4, -4,
    ]);
  });

  it("leaves out rows that only fill the batch up", () => {
    const batch = { input_ids: ids, attention_mask, row_weights: float32([0, 1], [2]) };
    expect(rows(input(6), batch, masks)).toEqual([3, 4]);
    expect(rows(input(2), batch, masks)).toEqual([1]);
  });

  it("leaves out masked labels when labels are per token", () => {
    const batch = { input_ids: ids, attention_mask, labels: int32([-100, 4, 4, -100, 4, 4], [2, 3]) };
    expect(rows(input(6), batch, masks)).toEqual([1, 2, 4]);
    expect(rows(input(6), batch, { useLabelMask: true, labelMaskValue: 4 })).toEqual([0, 3]);
    expect(rows(input(6), batch, { ...masks, useLabelMask: false })).toEqual([0, 1, 2, 3, 4]);
    expect(rows(input(6), { ...batch, labels: int32([-100, 1], [2]) }, masks)).toEqual([0, 1, 2, 3, 4]);
  });
});
