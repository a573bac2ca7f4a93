import { installMatchers, tol } from "@peftjs/testkit";
import { describeOnEngines, oneLayer, perturb, responses } from "@peftjs/testkit/conformance";
import { expect, it } from "vitest";
import { rocoft } from "../src/index.ts";

installMatchers();

const weight = [
  [0.5, -0.25, 0.1],
  [0.2, 0.3, -0.4],
];
const base = [-0.1, 1.2];

describeOnEngines("the response of a layer", (engine) => {
  it.each([
    { mode: "row", rank: 1 },
    { mode: "column", rank: 1 },
    { mode: "column", rank: 1, forward: "split" },
    { mode: "entries", count: 3 },
  ])("is what trained parts of the weight add to its output, %j", async (config) => {
    const model = await oneLayer(rocoft, { weight, config });
    perturb(model, { std: 0.5 });
    const [whole = [], quarter, none] = await responses(model, {
      engine: engine(),
      x: [[1, 2, -1]],
      scales: [1, 0.25, 0],
    });
    expect(whole).not.toBeAllClose(base, { absolute: 0.1, relative: 0 });
    expect(quarter).toBeAllClose(
      base.map((y0, i) => y0 + 0.25 * ((whole[i] as number) - y0)),
      tol.float32,
    );
    expect(none).toBeAllClose(base, tol.float32);
  });
});
