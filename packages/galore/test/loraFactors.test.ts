import { float32, matmul } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";
import { installMatchers } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { loraFactors } from "../src/loraFactors.ts";
import { asMatrix } from "../src/host.ts";
import { gaussian, MatrixRun, transposed } from "./run.ts";

installMatchers();

async function changeAfter(steps: number, shape: readonly [number, number], config: object) {
  const before = gaussian(shape, 99);
  const run = new MatrixRun({ shape, learningRate: 0.01, weight: before, config });
  for (let seed = 1; seed <= steps; seed++) await run.step(gaussian(shape, seed));
  const { data } = run.weight;
  const change = float32(
    Float32Array.from(data, (w, i) => w - (before.data[i] as number)),
    shape,
  );
  return { change, refreshes: run.refreshes };
}

function product({ loraA, loraB }: { readonly loraA: HostTensor; readonly loraB: HostTensor }): ArrayLike<number> {
  return matmul(asMatrix(loraB), asMatrix(loraA)).data;
}

const close = { absolute: 1e-5, relative: 0 };

describe("the total change as LoRA factors", () => {
  it.each([
    ["one window, rank 2", [8, 6], { rank: 2, scale: 1 }, 1],
    ["three windows, rank 1", [8, 6], { rank: 1, scale: 1, updateProjGap: 2 }, 3],
    ["three windows, left side", [6, 8], { rank: 1, scale: 1, updateProjGap: 2 }, 3],
    ["three windows, both sides", [8, 8], { rank: 1, scale: 1, updateProjGap: 2, projType: "full" }, 3],
  ] as const)("is exact: %s", async (_, shape, config, windows) => {
    const { change, refreshes } = await changeAfter(5, shape, config);
    expect(refreshes).toBe(windows);
    const rank = config.rank * refreshes;
    const factors = loraFactors(change, { layout: "out_in", rank });
    expect([factors.loraA.shape, factors.loraB.shape, factors.alpha]).toEqual([
      [rank, shape[1]],
      [shape[0], rank],
      rank,
    ]);
    expect(product(factors)).toBeAllClose(change.data, close);
    const stored = loraFactors(transposed(change), { layout: "in_out", rank });
    expect(product(stored)).toBeAllClose(change.data, close);
    // One less would not do.
    if (rank > 1) expect(() => loraFactors(change, { layout: "out_in", rank: rank - 1 })).toThrow(/NOT_LOW_RANK|miss/);
  });

  it("is refused after weight decay", async () => {
    const { change } = await changeAfter(5, [8, 6], { rank: 1, scale: 1, weightDecay: 0.1 });
    expect(() => loraFactors(change, { layout: "out_in", rank: 1 })).toThrow(/weightDecay to 0/);
  });
});
