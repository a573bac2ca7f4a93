import { describe, expect, it } from "vitest";
import { blockOf, blockPaths } from "./blocks.ts";

const site = (path: string, block: number | null) => ({ path, block });
const paths = blockPaths([
  site("bert.embeddings.word", null),
  site("bert.encoder.layer.1.attention.self.query", 1),
  site("bert.encoder.layer.0.attention.self.query", 0),
  site("bert.encoder.layer.0.output.dense", 0),
  site("bert.encoder.layer.1.output.dense", 1),
  site("bert.encoder.layer.10.output.dense", 10),
  site("classifier", null),
]);

describe("blockPaths", () => {
  it("are the modules that hold all layers of a block, in order", () => {
    expect([...paths]).toEqual([
      [0, "bert.encoder.layer.0"],
      [1, "bert.encoder.layer.1"],
      // The only layer of its block: nothing more can be known.
      [10, "bert.encoder.layer.10.output.dense"],
    ]);
  });

  it("hold norms and biases beside the layers, and nothing whose name merely begins alike", () => {
    expect(blockOf(paths, "bert.encoder.layer.1.attention.output.LayerNorm.weight")).toBe(1);
    expect(blockOf(paths, "bert.encoder.layer.11.output.dense.weight")).toBeNull();
    expect(blockOf(paths, "classifier.weight")).toBeNull();
  });
});
