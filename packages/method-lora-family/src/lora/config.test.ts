import { describe, expect, it } from "vitest";
import { RsLoraConfig } from "../rslora/config.ts";
import { LoraConfig, loraScale } from "./config.ts";

describe("loraScale", () => {
  it("divides by the rank, or by its root", () => {
    const table = [
      [1, 16, 16],
      [4, 4, 8],
      [8, 2, 5.65685425],
      [16, 1, 4],
      [64, 0.25, 2],
      [256, 0.0625, 1],
    ] as const;
    for (const [rank, plain, stabilised] of table) {
      expect(loraScale({ alpha: 16, rank, useRslora: false })).toBe(plain);
      expect(loraScale({ alpha: 16, rank, useRslora: true })).toBeCloseTo(stabilised, 8);
    }
  });
});

describe("rsLoRA", () => {
  it("of rank 16 and α 4 has the scale of LoRA with α 16", () => {
    expect(loraScale(RsLoraConfig.parse({ rank: 16, alpha: 4 }))).toBe(
      loraScale(LoraConfig.parse({ rank: 16, alpha: 16 })),
    );
  });
});

describe("LoraConfig", () => {
  it("has the Python library's defaults", () => {
    expect(LoraConfig.parse({})).toMatchObject({
      rank: 8,
      alpha: 8,
      dropout: 0,
      bias: "none",
      useRslora: false,
      initLoraWeights: true,
      rankPattern: {},
      alphaPattern: {},
      fanInFanOut: false,
      loraBias: false,
    });
  });

  it.each([
    { rank: 0 },
    { rank: -1 },
    { rank: 1.5 },
    { dropout: 1 },
    { bias: "some" },
    { initLoraWeights: "lucky" },
    { ranks: 4 },
  ])("refuses %j", (input) => {
    expect(LoraConfig.safeParse(input).success).toBe(false);
  });

  it("says which start values there are when it does not know one", () => {
    const message = LoraConfig.safeParse({ initLoraWeights: "gausian" }).error?.issues[0]?.message;
    expect(message).toContain('got "gausian"');
    expect(message).toContain('Did you mean "gaussian"?');
    expect(LoraConfig.parse({ initLoraWeights: "pissa_niter_4" }).initLoraWeights).toBe("pissa_niter_4");
  });
});
