import type { Method } from "@peftjs/core";
import { installMatchers, tol } from "@peftjs/testkit";
import { describeOnEngines, oneLayer, perturb, responses } from "@peftjs/testkit/conformance";
import { expect, it } from "vitest";
import { adalora, dora, lora } from "../src/index.ts";

installMatchers();

/** Values given with eight decimals, computed in float32. */
const printed = { absolute: 3e-7, relative: 0 };
const weight = [
  [0.5, -0.25, 0.1],
  [0.2, 0.3, -0.4],
];
const x = [[1, 2, -1]];
const base = [-0.1, 1.2];
const factors = {
  a: [
    [0.1, 0.2, 0.3],
    [-0.3, 0.1, 0.2],
  ],
  b: [
    [0.5, -1],
    [1, 0.25],
  ],
};
const config = { rank: 2, alpha: 4 };
const norms = [0.56789083, 0.53851648];
const methods = { lora: lora as unknown as Method, dora: dora as unknown as Method };

describeOnEngines("the response of a layer", (engine) => {
  it.each([
    ["lora", {}, [0.7, 1.45], [0.1, 1.2625], base],
    ["dora", { magnitude: norms }, [0.3243065, 0.92345126], [0.07846985, 1.31837997], base],
    [
      ...(["dora", { magnitude: [0.7, 0.5] }, [0.39975034, 0.85740297]] as const),
      ...([
        [0.0967244, 1.22408507],
        [-0.12326313, 1.11417203],
      ] as const),
    ],
  ] as const)("%s %j at 1, 0.25 and 0", async (name, magnitude, whole, quarter, none) => {
    const model = await oneLayer(methods[name], { weight, config, params: { ...factors, ...magnitude } });
    const found = await responses(model, { engine: engine(), x, scales: [1, 0.25, 0] });
    expect(found[0]).toBeAllClose(whole, printed);
    expect(found[1]).toBeAllClose(quarter, printed);
    expect(found[2]).toBeAllClose(none, printed);
  });

  it("is what the layer gains, for every method when asked for, and for all but DoRA by default", async () => {
    for (const method of [lora, dora, adalora] as unknown as Method[]) {
      const model = await oneLayer(method, { weight });
      perturb(model, { std: 0.5 });
      const at = async (scales: readonly number[], response: "method" | "output") =>
        responses(model, { engine: engine(), x, scales, response });
      const [y1 = [], half = [], none = []] = await at([1, 0.25, 0], "output");
      expect(y1).not.toBeAllClose(base, { absolute: 0.1, relative: 0 });
      expect(half).toBeAllClose(
        base.map((y0, i) => y0 + 0.25 * (y1[i]! - y0)),
        tol.float32,
      );
      expect(none).toBeAllClose(base, tol.float32);
      const own = await at([1, 0.25], "method");
      expect(own[0]).toBeAllClose(y1, tol.float32);
      if (method.name === "dora") expect(own[1]).not.toBeAllClose(half, { absolute: 1e-3, relative: 0 });
      else expect(own[1]).toBeAllClose(half, tol.exact);
    }
  });
});
