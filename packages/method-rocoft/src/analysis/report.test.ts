import { matrix } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { heatMap, htmlTable, logChart } from "./picture.ts";
import { kernelPage, kernelTable } from "./report.ts";
import type { KernelReport, MethodFigures } from "./report.ts";

const comparison = {
  ...{ relativeDifference: 0.5, traceNormalisedDifference: 0.25, alignment: 0.9, cka: 0.8, bestScale: 2 },
  ...{ residual: 0.1, absoluteRatio: 0.4 },
};

const method = (name: string, given: Partial<MethodFigures> = {}): MethodFigures => ({
  ...{ name, parameters: 1234, eigenvalues: [0.75, 0.25], effectiveRank: 1.75, laziness: null },
  draws: [
    { seed: 1, accuracy: 0.5, comparison, seconds: 1 },
    { seed: 2, accuracy: 0.7, comparison: { ...comparison, alignment: 0.7 }, seconds: 2 },
  ],
  traceKernel: [
    [4, -1],
    [-1, 0],
  ],
  ...given,
});

const report: KernelReport = {
  ...{
    model: "a <model>",
    data: "rows.jsonl",
    labels: ["no", "yes"],
    perClass: 1,
    testRows: 10,
    settings: { ridge: 0 },
  },
  methods: [
    method("full", { draws: [{ seed: 1, accuracy: null, comparison: null, seconds: 3 }] }),
    method("rocoft:rank=1", { laziness: [{ step: 4, change: 0.0123 }] }),
  ],
};

describe("the table", () => {
  it("has means over draws, and dashes for what there is not", () => {
    const [heading, full, rows] = kernelTable(report);
    expect(heading?.[3]).toBe("alignment with full");
    expect(full).toEqual(["full", "1,234", "–", "–", "–", "–", "–", "–", "1.8", "3.0"]);
    expect(rows).toEqual([
      "rocoft:rank=1",
      "1,234",
      "60.0 ± 14.1",
      "0.8000",
      "0.8000",
      "0.500",
      "0.250",
      "2.00",
      "1.8",
      "1.5",
    ]);
  });
});

describe("the page", () => {
  it("stands alone and shows every method", () => {
    const page = kernelPage(report);
    expect(page).toContain("a &lt;model&gt;");
    expect(page.match(/<figcaption>/gu)).toHaveLength(2);
    expect(page.match(/<svg /gu)).toHaveLength(3);
    expect(page).toMatch(/<h2>Laziness<\/h2>.*<th>step 4<\/th>.*<td>–<\/td>.*<td>0\.0123<\/td>/su);
    expect(page).not.toMatch(/<script|https?:|NaN|undefined/u);
    expect(kernelPage({ ...report, methods: [method("full")] })).not.toContain("Laziness");
  });
});

describe("pictures", () => {
  it("colour by sign and by the root of the size", () => {
    const map = heatMap(matrix(Float64Array.of(4, 1, -1, 0, 0, 0), [2, 3]), "k");
    expect(map).toContain('viewBox="0 0 3 2"');
    expect([...map.matchAll(/<path fill="([^"]+)" d="([^"]+)"/gu)].map(([, fill, d]) => [fill, d])).toEqual([
      ["rgb(255,0,0)", "M0 0h1v1h-1z"],
      ["rgb(255,128,128)", "M1 0h1v1h-1z"],
      ["rgb(128,128,255)", "M2 0h1v1h-1z"],
    ]);
  });

  it("average what is too large, and draw runs of a colour as one", () => {
    const map = heatMap(matrix(new Float64Array(128 * 128).fill(1), [128, 128]), "ones");
    expect(map).toContain('viewBox="0 0 64 64"');
    expect(map.match(/h64v1h-64z/gu)).toHaveLength(64);
  });

  it("place curves on a logarithmic scale and leave out what has no logarithm", () => {
    const chart = logChart([{ name: "a & b", values: [1, 0.1, 0] }], { x: "number", y: "share" });
    // From 12 at the top, 1, to 264 at the bottom, 0.1.
    expect(chart).toContain('points="52.0,12.0 340.0,264.0"');
    expect(chart).toContain("a &amp; b");
    expect(chart.match(/>1e(0|-1)</gu)).toHaveLength(2);
    expect(logChart([{ name: "none", values: [] }], { x: "", y: "" })).not.toContain("NaN");
  });

  it("escape the cells of tables", () => {
    expect(htmlTable([["<a>"], ['"b"']])).toBe(
      "<table><thead><tr><th>&lt;a&gt;</th></tr></thead><tbody><tr><td>&quot;b&quot;</td></tr></tbody></table>",
    );
  });
});
