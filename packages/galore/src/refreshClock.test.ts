import { describe, expect, it } from "vitest";
import { GaloreConfig } from "./config.ts";
import { afterRefresh, startClock } from "./refreshClock.ts";

/** Steps of the refreshes, with these cosines between successive bases. */
function refreshes(input: object, cosines: readonly number[]): number[] {
  const { adaptiveGap, updateProjGap } = GaloreConfig.parse({ updateProjGap: 10, ...input });
  let clock = startClock({ updateProjGap });
  const steps: number[] = [];
  for (const cosine of [null, ...cosines]) {
    steps.push(clock.next);
    clock = afterRefresh(clock, { step: clock.next, cosine, adaptiveGap });
  }
  return [...steps, clock.next];
}

describe("refreshes", () => {
  it("come every T steps", () => {
    expect(refreshes({}, [1, 1, 1])).toEqual([0, 10, 20, 30, 40]);
  });

  it("come less often once five cosines are large on average, whatever their signs", () => {
    const adaptive = { adaptiveGap: {} };
    expect(refreshes(adaptive, [0.9, -0.9, 0.9, -0.9])).toEqual([0, 10, 20, 30, 40, 50]);
    expect(refreshes(adaptive, [0.9, -0.9, 0.9, -0.9, 0.1])).toEqual([0, 10, 20, 30, 40, 50, 70]);
    expect(refreshes(adaptive, [0.3, 0.3, 0.3, 0.3, 0.3, 0.9])).toEqual([0, 10, 20, 30, 40, 50, 60, 80]);
  });

  it("wait int(factor·T) steps", () => {
    expect(refreshes({ updateProjGap: 3, adaptiveGap: { queue: 1, factor: 1.5 } }, [1, 1])).toEqual([0, 3, 7, 13]);
  });
});

describe("options", () => {
  it("have the published defaults", () => {
    expect(GaloreConfig.parse({})).toMatchObject({
      rank: 128,
      updateProjGap: 200,
      scale: 0.25,
      projType: "std",
      rule: "adamw",
      svd: "randomized",
      oversample: 8,
      powerIterations: 2,
      momentOnRefresh: "keep",
      alignSigns: true,
      layerwise: false,
      basisBits: 32,
      adaptiveGap: null,
    });
    expect(GaloreConfig.parse({ adaptiveGap: {} }).adaptiveGap).toEqual({ threshold: 0.4, queue: 5, factor: 2 });
  });

  it("refuse to express factored moments in another basis", () => {
    expect(() => GaloreConfig.parse({ rule: "adafactor", momentOnRefresh: "project" })).toThrow(
      /only the moments of AdamW/,
    );
  });
});
