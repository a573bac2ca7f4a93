import type { HostTensor } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { CLS, SEP } from "./pairs.ts";
import { MaskedWindows } from "./windows.ts";

/** Paragraphs of 30 tokens that count upwards, so that a row shows where it comes from. */
const tokens = Uint16Array.from({ length: 6000 }, (_, i) => (i % 31 === 30 ? SEP : 10 + (i % 4000)));
const options = { tokens, vocabularySize: 4096, length: 32, batchSize: 8, maskRate: 0.2, seed: 3 };

const rowsOf = ({ data, shape: [rows = 0, length = 0] }: HostTensor): number[][] =>
  Array.from({ length: rows }, (_, i) => Array.from(data.subarray(i * length, (i + 1) * length)));

/** The batch with the hidden tokens put back. */
function originals(batch: Readonly<Record<string, HostTensor>>): number[][] {
  const ids = batch["input_ids"] as HostTensor;
  const data = Int32Array.from(ids.data);
  batch["masked_positions"]?.data.forEach((place, i) => {
    // Entries that only fill up have weight 0.
    if (batch["masked_weights"]?.data[i] === 1) data[place] = batch["masked_labels"]?.data[i] as number;
  });
  return rowsOf({ ...ids, data });
}

describe("windows", () => {
  it("are the same for the same number, and others for another", () => {
    const [a, b] = [new MaskedWindows(options), new MaskedWindows(options)];
    b.batchAt(40);
    expect(a.batchAt(5)).toEqual(b.batchAt(5));
    expect(a.batchAt(6)["input_ids"]?.data).not.toEqual(a.batchAt(5)["input_ids"]?.data);
  });

  it("are [CLS], a run of the text, [SEP], with a fifth of the tokens to predict", () => {
    const batch = new MaskedWindows(options).batchAt(0);
    expect(batch["masked_positions"]?.shape).toEqual([Math.floor(0.2 * 8 * 32)]);
    for (const row of originals(batch)) {
      expect([row[0], row[31]]).toEqual([CLS, SEP]);
      const start = tokens.findIndex((_, i) => row.slice(1, 31).every((token, j) => token === tokens[i + j]));
      expect(start).toBeGreaterThanOrEqual(0);
    }
  });

  it("see every window once in an epoch", () => {
    const windows = new MaskedWindows(options);
    const starts = Array.from({ length: windows.batchesPerEpoch }, (_, i) =>
      originals(windows.batchAt(i)).map((row) => row.slice(1, 31).join()),
    ).flat();
    expect(new Set(starts).size).toBe(starts.length);
  });
});

describe("pairs", () => {
  const batches = Array.from({ length: 20 }, (_, i) => new MaskedWindows({ ...options, pairs: true }).batchAt(i));
  const pairs = batches.flatMap((batch) =>
    originals(batch).map((row, i) => {
      const middle = row.indexOf(SEP);
      const segments = [row.slice(1, middle), row.slice(middle + 1, -1)] as const;
      return {
        segments,
        label: batch["next_sentence_label"]?.data[i],
        types: rowsOf(batch["token_type_ids"] as HostTensor)[i],
      };
    }),
  );
  const text = Array.from(tokens)
    .filter((token) => token !== SEP)
    .join();
  const follows = (first: readonly number[], second: readonly number[]): boolean =>
    text.includes([...first, ...second].join());

  it("follow each other exactly where the label says so", () => {
    for (const {
      segments: [first, second],
      label,
    } of pairs)
      expect(follows(first, second)).toBe(label === 0);
  });

  it("are in order in about half, exchanged in about a quarter", () => {
    const share = (test: (pair: (typeof pairs)[number]) => boolean): number => pairs.filter(test).length / pairs.length;
    expect(Math.abs(share(({ label }) => label === 0) - 0.5)).toBeLessThan(0.12);
    expect(
      Math.abs(share(({ segments: [first, second], label }) => label === 1 && follows(second, first)) - 0.25),
    ).toBeLessThan(0.12);
  });

  it("have token types 0 and 1", () => {
    for (const {
      segments: [first],
      types,
    } of pairs) {
      expect(types).toEqual(Array.from({ length: 32 }, (_, i) => Number(i >= first.length + 2)));
    }
  });
});
