import { createGenerator, float32 } from "@peftjs/core";
import type { HostSite, HostTensor } from "@peftjs/core";
import { linearSite } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { allocate, tripletScores } from "./allocate.ts";
import { AdaloraConfig } from "./config.ts";
import { adaloraFile } from "./file.ts";
import { initAdalora } from "./init.ts";

type Site = HostSite<AdaloraConfig>;

/** Layers whose triplets are trained (E = 1) and have the given scores, by E alone. */
function layers(scores: readonly (readonly number[])[], config: AdaloraConfig): Site[] {
  const generator = createGenerator(1);
  return scores.map((list, i) => {
    const site = linearSite({ path: `block.${i}`, inFeatures: 3, outFeatures: 5 });
    const weight = float32(new Float32Array(15), [5, 3]);
    const { params, buffers, state } = initAdalora({
      ...{ site, config, generator, weight, bias: null, calibration: undefined },
    });
    params["e"]!.data.fill(1);
    state!["eSensitivity"]!.data.set(list);
    state!["eUncertainty"]!.data.fill(1);
    return { site, config, params: { ...params, ...buffers }, state: state! };
  });
}

const entries = (sites: readonly Site[], name = "e"): number[][] =>
  sites.map(({ params, state }) => [...(name === "e" ? params["e"]! : (state[name] as HostTensor)).data]);

const base = { initRank: 3, targetRank: 1, totalSteps: 10, tinit: 2, tfinal: 3, deltaT: 2 };
const scores = [
  [0.5, 0.1, 0.3],
  [0.05, 0.2, 0.4],
];

describe("allocate", () => {
  const config = AdaloraConfig.parse(base);
  const run = (sites: readonly Site[], step: number): void => allocate({ step, totalSteps: 99, config, sites });

  it("pools all layers, sets E of the lowest to zero, and lets them come back", () => {
    const sites = layers(scores, config);
    run(sites, 2);
    expect(entries(sites)).toEqual([
      [1, 1, 1],
      [1, 1, 1],
    ]);
    // ⌊4·(3/5)³ + 2⌋ = 2 are left of 6.
    run(sites, 4);
    expect(entries(sites)).toEqual([
      [1, 0, 0],
      [0, 0, 1],
    ]);
    sites[0]!.params["e"]!.data[1] = 0.7;
    run(sites, 5);
    expect(entries(sites)[0]![1]).toBeCloseTo(0.7);
    sites[0]!.state["eSensitivity"]!.data[1] = 2;
    run(sites, 6);
    expect(entries(sites, "mask")).toEqual([
      [1, 1, 0],
      [0, 0, 0],
    ]);
  });

  it("decides for good at T − tfinal, whatever deltaT, and holds on to it after every step", () => {
    const sites = layers(scores, config);
    run(sites, 7);
    for (const step of [8, 9, 10]) {
      for (const { params } of sites) params["e"]!.data.fill(1);
      sites[0]!.state["eSensitivity"]!.data.fill(9);
      run(sites, step);
      expect(entries(sites)).toEqual([
        [1, 0, 0],
        [0, 0, 1],
      ]);
    }
  });

  it("counts importance up to the step before the decision", () => {
    const sites = layers(scores, config);
    const counting = [1, 5, 6, 7, 10].map((step) => {
      run(sites, step);
      return sites[0]!.state["counting"]!.data[0];
    });
    expect(counting).toEqual([1, 1, 0, 0, 0]);
  });

  it("masks ties together, and nothing when nothing has to go", () => {
    const tied = layers(
      [
        [0.1, 0.1, 0.3],
        [0.1, 0.2, 0.4],
      ],
      { ...config, targetRank: 2 },
    );
    allocate({ step: 7, totalSteps: 10, config: { ...config, targetRank: 2 }, sites: tied });
    expect(entries(tied, "mask")).toEqual([
      [0, 0, 1],
      [0, 1, 1],
    ]);
    const all = layers(scores, { ...config, targetRank: 3 });
    allocate({ step: 7, totalSteps: 10, config: { ...config, targetRank: 3 }, sites: all });
    expect(entries(all, "mask").flat()).toEqual([1, 1, 1, 1, 1, 1]);
  });

  it("leaves an adapter with a rank pattern as it is", () => {
    const sites = layers(scores, config);
    allocate({ step: 7, totalSteps: null, config: { ...config, rankPattern: {} }, sites });
    expect(entries(sites).flat()).toEqual([1, 1, 1, 1, 1, 1]);
  });

  it("uses the run's length when the config names none", () => {
    const sites = layers(scores, config);
    const open = { ...config, totalSteps: null };
    allocate({ step: 7, totalSteps: 10, config: open, sites });
    expect(adaloraFile({ config: open, sites, native: false }).config).toMatchObject({ totalSteps: 10 });
    expect(() => allocate({ step: 7, totalSteps: null, config: open, sites })).toThrow(/Set totalSteps/u);
  });
});

describe("tripletScores", () => {
  it("adds the means of a row of A and a column of B to E's own", () => {
    const site = layers([[0, 0, 0]], AdaloraConfig.parse(base))[0]!;
    const fill = (name: string, value: (i: number) => number): void => {
      site.state[name]!.data.forEach((_, i, data) => (data[i] = value(i)));
    };
    fill("eSensitivity", (i) => i);
    for (const name of ["aUncertainty", "bUncertainty"]) fill(name, () => 2);
    fill("aSensitivity", (i) => i); // rows: 0 1 2 | 3 4 5 | 6 7 8
    fill("bSensitivity", (i) => i % 3); // columns: all 0 | all 1 | all 2
    expect([...tripletScores(site)]).toEqual([0 + 2 + 0, 1 + 8 + 2, 2 + 14 + 4]);
  });
});

describe("adaloraFile", () => {
  it("cuts out what is masked and zero, and keeps what has grown back", () => {
    const config = AdaloraConfig.parse(base);
    const sites = layers(scores, config);
    allocate({ step: 7, totalSteps: null, config, sites });
    sites[1]!.params["e"]!.data[0] = 0.25;
    const form = adaloraFile({ config, sites, native: false });
    expect(form.config.rankPattern).toEqual({ "block.0": [true, false, false], "block.1": [true, false, true] });
    const { a, b, e } = form.params.get("block.1")!;
    expect([a!.shape, b!.shape, e!.shape]).toEqual([
      [2, 3],
      [5, 2],
      [2, 1],
    ]);
    const full = sites[1]!.params;
    expect([...a!.data]).toEqual([...full["a"]!.data.slice(0, 3), ...full["a"]!.data.slice(6)]);
    expect([...b!.data]).toEqual([...full["b"]!.data].filter((_, i) => i % 3 !== 1));
    expect([...e!.data]).toEqual([0.25, 1]);
  });

  it("has no pattern before anything is pruned, and numbers that the Python library accepts", () => {
    const config = AdaloraConfig.parse({ ...base, totalSteps: null, tfinal: 0.5 });
    const sites = layers(scores, config);
    const form = adaloraFile({ config, sites, native: false });
    expect(form.config).toMatchObject({ rankPattern: null, tinit: 2, tfinal: 0, totalSteps: 3 });
    expect(form.params.get("block.0")!["a"]).toBe(sites[0]!.params["a"]);
  });
});
