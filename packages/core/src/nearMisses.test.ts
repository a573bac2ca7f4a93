import { describe, expect, it } from "vitest";
import { didYouMean, nearMisses } from "./index.ts";

describe("nearMisses", () => {
  it("finds slips of the keyboard and parts of names, nearest first", () => {
    expect(nearMisses("q_prj", ["q_proj", "k_proj", "v_proj", "o_proj", "dense"])).toEqual(["q_proj"]);
    expect(nearMisses("Query", ["key", "query", "value"])).toEqual(["query"]);
    expect(nearMisses("proj", ["q_proj", "dense", "out_proj"], { limit: 1 })).toEqual(["q_proj"]);
    expect(nearMisses("xyz", ["query", "dense"])).toEqual([]);
  });

  it("becomes a question, or nothing", () => {
    expect(didYouMean("quary", ["query"])).toBe(' Did you mean "query"?');
    expect(didYouMean("zzz", ["query"])).toBe("");
  });
});
