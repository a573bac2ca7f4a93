import { describe, expect, it } from "vitest";
import { redistributeRanks } from "./redistribute.ts";

const alone = (path: string, ratios: readonly number[]) => ({ path, owner: path, ratios });
const ranks = (...args: Parameters<typeof redistributeRanks>) => Object.fromEntries(redistributeRanks(...args));

describe("redistributeRanks", () => {
  it("gives the worked example's ranks", () => {
    const layers = [
      alone("1", [0.5, 0.2, 0.1, 0.05]),
      alone("2", [0.3, 0.25, 0.15, 0.12]),
      alone("3", [0.9, 0.02, 0.01, 0.005]),
    ];
    expect(ranks(layers, 6)).toEqual({ 1: 2, 2: 3, 3: 1 });
    const uniform = layers.map(({ path, ratios }) => alone(path, ratios.slice(0, 2)));
    expect(ranks(uniform, 6)).toEqual({ 1: 2, 2: 2, 3: 2 });
  });

  it("leaves a layer nothing when others explain more", () => {
    expect(ranks([alone("1", [0.9, 0.8]), alone("2", [0.1, 0.1])], 2)).toEqual({ 1: 2, 2: 0 });
  });

  it("among equals takes owners first, and the owner ends with the largest rank", () => {
    const shared = [0.5, 0.3, 0.1];
    const group = (owner: string) => ["q", "k", "v"].map((path) => ({ path, owner, ratios: shared }));
    expect(ranks(group("q"), 5)).toEqual({ q: 2, k: 2, v: 1 });
    expect(ranks([...group("q"), alone("z", [0.5, 0.3, 0.3])], 7)).toEqual({ q: 2, k: 1, v: 1, z: 3 });
    const longer = [
      { path: "q", owner: "q", ratios: [0.5, 0.3] },
      { path: "k", owner: "q", ratios: [0.5, 0.3, 0.2] },
    ];
    expect(ranks(longer, 5)).toEqual({ q: 3, k: 2 });
  });
});
