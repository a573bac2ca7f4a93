import { describe, expect, it } from "vitest";
import { blockSites, parameter } from "../test/context.ts";
import { learningBlocks, requireResponses } from "./blocks.ts";

describe("learningBlocks", () => {
  it("are those of the parameters, ascending", () => {
    const parameters = [
      ...[parameter("a", 11), parameter("b", 1), parameter("c", 11), parameter("d", 2)],
      parameter("classifier.weight", null),
    ];
    expect(learningBlocks({ parameters, sites: blockSites(12) })).toEqual([1, 2, 11]);
  });

  it("refuses blocks that share their weights", () => {
    const sites = blockSites(12, () => "albert.encoder.albert_layer_groups.0.albert_layers.0");
    expect(() => learningBlocks({ parameters: [parameter("a", 0)], sites })).toThrow(
      expect.objectContaining({ code: "BLOCKS_SHARED", message: expect.stringContaining("blocks 0 and 1 share") }),
    );
  });

  it("refuses a model in whose blocks nothing learns", () => {
    const parameters = [parameter("classifier.weight", null)];
    expect(() => learningBlocks({ parameters, sites: blockSites(2) })).toThrow(
      expect.objectContaining({ code: "BLOCKS_MISSING" }),
    );
  });
});

describe("requireResponses", () => {
  it("refuses blocks that nothing is added in", () => {
    expect(() => requireResponses("ist", [0, 2], new Set([0, 1, 2]))).not.toThrow();
    expect(() => requireResponses("ist", [0, 2, 3], new Set([0, 1]))).toThrow(
      expect.objectContaining({ code: "RESPONSE_MISSING", message: expect.stringContaining("blocks 2, 3:") }),
    );
  });
});
