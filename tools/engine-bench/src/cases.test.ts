import { describe, expect, it } from "vitest";
import type { Case } from "./cases.ts";
import { CASES, casesNamed, frozenAs, LARGE_CASES, productFlops } from "./cases.ts";

describe("cases", () => {
  it("have the names that results are kept under", () => {
    expect(CASES.map(({ name }) => name)).toEqual([
      "12x768-8x128-lora",
      "12x768-8x128-lora-all",
      "12x768-8x128-rows",
      "12x768-8x128-columns",
      "12x768-8x128-full",
      "6x384-16x64-lora",
      "4x128-16x64-lora",
      "4x128-8x32-lora",
      "12x768-4x128-causal-lora",
      "12x768-8x128-lora-ist",
      "12x768-8x128-blocks",
      "12x768-8x128-galore",
      "12x768-8x128-galore-layerwise",
    ]);
    expect(LARGE_CASES.map(({ name }) => name)).toEqual(["24x2048-4x128-lora"]);
  });

  it("are what their names say", () => {
    for (const { name, layers, hidden, batch, length, method, model } of [...CASES, ...LARGE_CASES]) {
      const causal = model === "decoder" ? "-causal" : "";
      expect(`${layers}x${hidden}-${batch}x${length}${causal}-${method}`).toBe(name);
    }
  });

  it("are found by name, and a wrong name lists them", () => {
    expect(casesNamed(["4x128-8x32-lora"])).toEqual([CASES[7]]);
    expect(casesNamed(["24x2048-4x128-lora"])).toEqual(LARGE_CASES);
    expect(() => casesNamed(["4x128"])).toThrow('No case "4x128". Cases: 12x768-8x128-lora');
  });
});

describe("weights held in another way", () => {
  const [task] = casesNamed(["4x128-8x32-lora"]) as [Case];

  it("are named after the case", () => {
    expect(frozenAs(task, "int8")).toEqual({ ...task, name: "4x128-8x32-lora-int8", frozen: "int8" });
    expect(casesNamed(["4x128-8x32-lora-int8-words"])).toEqual([frozenAs(task, "int8-words")]);
    expect(() => casesNamed(["4x128-8x32-lora-int4"])).toThrow("each also with -bfloat16, -int8, ");
  });
});

describe("productFlops", () => {
  const sizes = { name: "", layers: 2, hidden: 4, heads: 2, vocabulary: 7, batch: 2, length: 3 };
  /** 2·m·k·n of every product [m, k]·[k, n]. */
  const sum = (...products: readonly (readonly [number, number, number])[]): number =>
    products.reduce((total, [m, k, n]) => total + 2 * m * k * n, 0);

  it("counts an encoder's products one by one", () => {
    const projections = sum([6, 4, 4], [6, 4, 4], [6, 4, 4]);
    const rest = sum([6, 4, 4], [6, 4, 16], [6, 16, 4]);
    // Two sequences of two heads of width 2: scores and context.
    const attention = 4 * sum([3, 2, 3], [3, 3, 2]);
    // Of the last block one row per sequence leaves.
    const last = sum([6, 4, 4], [6, 4, 4], [2, 4, 4]) + sum([2, 4, 4], [2, 4, 16], [2, 16, 4]);
    const lastAttention = 4 * sum([1, 2, 3], [1, 3, 2]);
    const weights = projections + rest + last;
    const encoder: Case = { ...sizes, model: "encoder", method: "lora" };
    expect(productFlops(encoder)).toBe(2 * weights - projections + 3 * (attention + lastAttention));
    expect(productFlops({ ...encoder, method: "full" })).toBe(3 * weights + 3 * (attention + lastAttention));
    expect(productFlops({ ...encoder, method: "galore" })).toBe(
      3 * weights - projections + 3 * (attention + lastAttention),
    );
  });

  it("counts a decoder's products one by one", () => {
    const block = sum([6, 4, 12], [6, 4, 4], [6, 4, 16], [6, 16, 4]);
    const attention = (4 * sum([3, 2, 3], [3, 3, 2])) / 2;
    const weights = 2 * block + sum([6, 4, 7]);
    expect(productFlops({ ...sizes, model: "decoder", method: "lora" })).toBe(
      2 * weights - sum([6, 4, 12]) + 3 * 2 * attention,
    );
  });
});
