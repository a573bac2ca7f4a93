import { describe, expect, it } from "vitest";
import { budgetAt, scheduleOf, untrainedSteps } from "./budget.ts";
import { AdaloraConfig } from "./config.ts";

describe("budgetAt", () => {
  const schedule = { initial: 288, target: 192, totalSteps: 1000, tinit: 100, tfinal: 200, deltaT: 10 };

  it.each([
    [1, 288, false],
    [100, 288, false],
    [101, 287, false],
    [110, 283, true],
    [200, 252, true],
    [333, 220, false],
    [450, 204, true],
    [600, 194, true],
    [799, 192, false],
    [800, 192, true],
    [801, 192, true],
    [1000, 192, true],
  ])("step %i: %i left, prunes: %s", (step, budget, prunes) => {
    expect(budgetAt(step, schedule)).toEqual({ budget, prunes });
  });

  it("decides at the last step when there are no final ones", () => {
    const { budget, prunes } = budgetAt(1000, { ...schedule, tfinal: 0, deltaT: 7 });
    expect({ budget, prunes }).toEqual({ budget: 192, prunes: true });
  });

  it("never grows", () => {
    for (let step = 1; step <= 1000; step++)
      expect(budgetAt(step, schedule).budget).toBeLessThanOrEqual(budgetAt(step - 1, schedule).budget);
  });
});

describe("scheduleOf", () => {
  const config = AdaloraConfig.parse({ tinit: 0.1, tfinal: 0.25, deltaT: 10 });

  it("turns shares into steps, of the config's total before that of the run", () => {
    expect(scheduleOf(config, 400)).toEqual({ tinit: 40, tfinal: 100, deltaT: 10, totalSteps: 400 });
    expect(scheduleOf({ ...config, totalSteps: 1000 }, 400)).toEqual({
      ...{ tinit: 100, tfinal: 250, deltaT: 10, totalSteps: 1000 },
    });
    expect(scheduleOf({ ...config, tinit: 5, tfinal: 6 }, 400)).toMatchObject({ tinit: 5, tfinal: 6 });
  });

  it("passes over the stand-in that the file of an untrained adapter holds", () => {
    const whole = { ...config, tinit: 5, tfinal: 6 };
    const totalSteps = untrainedSteps(whole);
    expect(totalSteps).toBe(12);
    expect(scheduleOf({ ...whole, totalSteps }, 400).totalSteps).toBe(400);
    expect(scheduleOf({ ...whole, totalSteps }, null).totalSteps).toBe(12);
  });

  it("says what is missing", () => {
    expect(() => scheduleOf(config, null)).toThrow(/Set totalSteps/u);
    expect(() => scheduleOf({ ...config, tinit: 30, tfinal: 70 }, 100)).toThrow(/no step to prune in: of 100 steps/u);
  });
});

describe("AdaloraConfig", () => {
  it("has the Python library's defaults", () => {
    expect(AdaloraConfig.parse({})).toMatchObject({
      ...{ initRank: 12, targetRank: 8, tinit: 0, tfinal: 0, deltaT: 1, beta1: 0.85, beta2: 0.85 },
      ...{ orthRegWeight: 0.5, alpha: 8, dropout: 0, bias: "none", totalSteps: null, rankPattern: null },
    });
  });

  it.each([
    { initRank: 0 },
    { initRank: 4, targetRank: 5 },
    { tinit: 1.5 },
    { tfinal: -1 },
    { deltaT: 0 },
    { beta1: 0 },
    { beta2: 1 },
    { orthRegWeight: -1 },
    { rank: 4 },
    { totalSteps: 10, tinit: 6, tfinal: 4 },
    { totalSteps: 10, tinit: 0.5, tfinal: 0.5 },
    { rankPattern: { query: [true, false] } },
  ])("refuses %j", (input) => {
    expect(AdaloraConfig.safeParse(input).success).toBe(false);
  });
});
