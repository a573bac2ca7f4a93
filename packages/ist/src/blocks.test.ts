import { describe, expect, it } from "vitest";
import { blockGroups, requireOneChooser } from "./blocks.ts";

/** Sites of blocks as an encoder lists them. */
function sites(blocks: number, pathOf = (block: number) => `bert.encoder.layer.${block}`) {
  const block = (n: number) =>
    ["attention.self.query", "attention.self.value", "output.dense"].map((layer) => {
      const path = `${pathOf(n)}.${layer}`;
      return { path, block: n, weight: `${path}.weight` };
    });
  const outside = (path: string) => ({ path, block: null, weight: `${path}.weight` });
  return [
    outside("bert.embeddings.word_embeddings"),
    ...Array.from({ length: blocks }, (_, n) => block(n)).flat(),
    outside("classifier"),
  ];
}

describe("blockGroups", () => {
  it("has all that lies in a block, and nothing outside", () => {
    const { blocks, groupOf } = blockGroups(sites(12), [
      "bert.encoder.layer.1.attention.self.query.loraA",
      "bert.encoder.layer.1.attention.output.LayerNorm.weight",
      "bert.encoder.layer.11.output.dense.bias",
      "bert.encoder.norm.weight",
      "classifier.weight",
    ]);
    expect(blocks).toEqual([1, 11]);
    expect([...groupOf.values()]).toEqual([0, 0, 1, null, null]);
  });

  it("refuses blocks that share their weights", () => {
    const shared = sites(12, () => "albert.encoder.albert_layer_groups.0.albert_layers.0");
    expect(() => blockGroups(shared, ["classifier.weight"])).toThrow(
      expect.objectContaining({ code: "BLOCKS_SHARED", message: expect.stringContaining("blocks 0 and 1 share") }),
    );
  });

  it("refuses a model with nothing to train in its blocks", () => {
    expect(() => blockGroups(sites(2), ["classifier.weight"])).toThrow(
      expect.objectContaining({ code: "BLOCKS_MISSING" }),
    );
  });
});

describe("requireOneChooser", () => {
  it("refuses two", () => {
    expect(() => requireOneChooser(["ist"])).not.toThrow();
    expect(() => requireOneChooser(["ist", "rst"])).toThrow(
      expect.objectContaining({ code: "PLUGIN_CONFLICT", message: expect.stringContaining('"ist" and "rst"') }),
    );
  });
});
