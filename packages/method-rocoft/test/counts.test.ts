import { architectures, countTrainable } from "@peftjs/testkit/conformance";
import { describe, expect, it } from "vitest";
import { rocoft, source } from "../src/index.ts";

type Model = keyof typeof architectures;

/** Row weights per r, column weights per r, biases. */
const BLOCKS: readonly (readonly [Model, number, number, number])[] = [
  ["RoBERTa-base", 82_944, 82_944, 82_944],
  ["DeBERTaV3-base", 82_944, 82_944, 82_944],
  ["BERT-base", 82_944, 82_944, 82_944],
  ["RoBERTa-large", 221_184, 221_184, 221_184],
  ["ALBERT-base", 6_912, 6_912, 6_912],
  ["GPT-2", 64_512, 82_944, 82_944],
  ["BART-large", 270_336, 270_336, 270_336],
  ["BLOOM-7B", 860_160, 1_105_920, 1_105_920],
  ["GPT-J-6B", 1_032_192, 1_032_192, 573_440],
  ["LLaMA-7B", 1_138_688, 1_359_872, 0],
  ["LLaMA-13B", 1_781_760, 2_129_920, 0],
];

describe("what learns in the blocks of well-known models, from shapes alone", () => {
  it.each(BLOCKS)("%s", (name, row, column, biases) => {
    const count = (settings: Parameters<typeof rocoft.config.parse>[0] & object): number =>
      countTrainable(rocoft, settings, architectures[name]).adapter;
    for (const rank of [1, 3]) {
      expect(count({ rank, bias: "none" })).toBe(rank * row);
      expect(count({ mode: "column", rank, bias: "none" })).toBe(rank * column);
      expect(count({ rank })).toBe(rank * row + biases);
      expect(count({ mode: "column", rank, parameterisation: "absolute" })).toBe(rank * column + biases);
    }
    expect(count({ rank: 0 })).toBe(biases);
    expect(count({ mode: "entries", matchRows: 3, bias: "none" })).toBe(3 * row);
    expect(count({ mode: "entries", count: 10, bias: "none" })).toBe(
      10 * countTrainable(rocoft, {}, architectures[name]).targets,
    );
  });

  it.each([
    ["RoBERTa-base", 72],
    ["RoBERTa-large", 144],
    ["GPT-2", 48],
    ["BART-large", 192],
    ["BLOOM-7B", 120],
    ["GPT-J-6B", 168],
    ["LLaMA-7B", 224],
    ["LLaMA-13B", 280],
  ] as const)("%s: %i layers", (name, targets) => {
    expect(countTrainable(rocoft, {}, architectures[name]).targets).toBe(targets);
  });
});

describe("what learns with the head", () => {
  const roberta = architectures["RoBERTa-base"];
  const trainable = (settings: object, model = roberta): number => countTrainable(rocoft, settings, model).trainable;

  it("is 923,906 by default: three rows of 72 matrices, their biases and the head", () => {
    expect(trainable({})).toBe(248_832 + 82_944 + 592_130);
    expect(trainable({})).toBe(923_906);
    expect(trainable({ bias: "none" })).toBe(248_832 + 592_130);
    expect(trainable({ head: "frozen" })).toBe(248_832 + 82_944);
    expect(trainable({ norms: "train" })).toBe(923_906 + 25 * 2 * 768);
    // The biases of the norms and of the embeddings' norm beside those of the layers and of the head.
    expect(trainable({ bias: "all" })).toBe(923_906 + 25 * 768);
  });

  it.each([
    ["row", 1, 168_194],
    ["row", 3, 336_386],
    ["row", 4, 420_098],
    ["column", 1, 167_428],
    ["column", 3, 334_856],
    ["row", 0, 83_714],
  ] as const)("is what the original code trains with `source`: RoBERTa-base, %s, r = %i", (mode, rank, count) => {
    expect(trainable({ ...source, mode, rank })).toBe(count);
  });

  it.each([
    ["row", 890_882],
    ["column", 888_840],
  ] as const)("RoBERTa-large, %s, r = 3", (mode, count) => {
    expect(trainable({ ...source, mode, rank: 3 }, architectures["RoBERTa-large"])).toBe(count);
  });

  it.each([
    ["row", 1, 1_409_024],
    ["row", 3, 3_694_592],
    ["column", 3, 4_441_856],
  ] as const)("LLaMA-7B with its output layer and norms, %s, r = %i", (mode, rank, count) => {
    const model = architectures["LLaMA-2-7B with its output layer"];
    expect(trainable({ ...source, mode, rank }, model)).toBe(count);
  });

  it("leaves everything else of GPT-2 frozen, unlike the original code", () => {
    expect(trainable({ ...source, bias: "none", rank: 1 }, architectures["GPT-2"])).toBe(64_512);
  });
});

it("reports shares of all weights", () => {
  // The notebooks divide by what is left when frozen weights are not counted, and print 3.28 %.
  const { all, adapter, trainable } = countTrainable(rocoft, source, architectures["LLaMA-2-7B with its output layer"]);
  expect(trainable).toBeGreaterThan(adapter);
  const columns = countTrainable(
    rocoft,
    { ...source, mode: "column" },
    architectures["LLaMA-2-7B with its output layer"],
  );
  expect((100 * columns.trainable) / (columns.all - columns.adapter)).toBeCloseTo(0.0659, 3);
  expect(all).toBeGreaterThan(6_738_415_616);
});
