import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { beforeAll, describe, expect, it } from "vitest";
import { learnParity } from "../examples/parity.ts";
import { parityPlan, parityRows } from "../examples/parityModel.ts";

describe("parity of three bits", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine({ kind: "onnx", threads: 1 });
  });

  it("has the eight inputs, and batches that a seed decides", () => {
    const { bits, labels } = parityRows();
    expect([...labels.data]).toEqual([0, 1, 1, 0, 1, 0, 0, 1]);
    expect([...bits.data.slice(9, 12)]).toEqual([1, 1, 0]);
    const plan = parityPlan({ batchSize: 32, seed: 1 });
    expect(plan.batchAt(3)).toEqual(plan.batchAt(3));
    expect(plan.batchAt(4)).not.toEqual(plan.batchAt(3));
    expect(parityPlan({ batchSize: 32, seed: 2 }).batchAt(3)).not.toEqual(plan.batchAt(3));
  });

  // 10,002 steps of a small program: some seconds each.
  it.each([1, 2, 3])("is learned by one row of each layer, seed %i", async (seed) => {
    const { loss, accuracy } = await learnParity({ engine, mode: "row", seed });
    expect(loss).toBeLessThan(0.1);
    expect(accuracy).toBe(1);
  });

  it("is not learned by one column of each", async () => {
    const { loss } = await learnParity({ engine, mode: "column", seed: 1 });
    expect(loss).toBeGreaterThan(0.5);
  });
});
