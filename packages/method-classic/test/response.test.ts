import type { Method } from "@peftjs/core";
import { installMatchers, tol } from "@peftjs/testkit";
import { describeOnEngines, oneLayer, responses } from "@peftjs/testkit/conformance";
import { expect, it } from "vitest";
import { parallel, series } from "../src/index.ts";

installMatchers();

const weight = [
  [0.5, -0.25, 0.1],
  [0.2, 0.3, -0.4],
];
const x = [[1, 2, -1]];
const base = [-0.1, 1.2];
const down = [
  [0.1, -0.2, 0.3],
  [0.4, 0, -0.1],
];
const shared = { bottleneckSize: 2, nonLinearity: "tanh", scaling: 1 };

/** Values given with eight decimals, computed in float32. */
const printed = { absolute: 3e-7, relative: 0 };
const cases = {
  before: {
    method: series as unknown as Method,
    config: { ...shared, placement: { layer: "before" } },
    params: {
      down,
      up: [
        [0.2, 0.1],
        [-0.3, 0.5],
        [0, 0.25],
      ],
    },
    whole: [-0.21708953, 1.25920068],
    quarter: [-0.12927238, 1.21480017],
  },
  after: {
    method: series as unknown as Method,
    config: { ...shared, placement: { layer: "after" } },
    params: {
      down: [
        [0.3, -0.6],
        [0.2, 0.1],
      ],
      up: [
        [0.5, 0.25],
        [-0.4, 1],
      ],
    },
    whole: [-0.39265748, 1.55372758],
    quarter: [-0.17316437, 1.28843189],
  },
  parallel: {
    method: parallel as unknown as Method,
    config: shared,
    params: {
      down,
      up: [
        [0.2, -0.1],
        [0.3, 0.4],
      ],
    },
    whole: [-0.25362163, 1.22373199],
    quarter: [-0.13840541, 1.205933],
  },
} as const;

describeOnEngines("the response of a layer", (engine) => {
  it.each(["before", "after", "parallel"] as const)("%s, at 1, 0.25 and 0", async (name) => {
    const { method, whole, quarter, ...options } = cases[name];
    const model = await oneLayer(method, { weight, ...options });
    const found = await responses(model, { engine: engine(), x, scales: [1, 0.25, 0] });
    expect(found[0]).toBeAllClose(whole, printed);
    expect(found[1]).toBeAllClose(quarter, printed);
    expect(found[2]).toBeAllClose(base, printed);
    expect(found[1]).toBeAllClose(
      base.map((y0, i) => y0 + 0.25 * ((found[0]?.[i] as number) - y0)),
      tol.float32,
    );
  });
});
