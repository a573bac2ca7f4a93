import { installMatchers } from "@peftjs/testkit";
import { describeOnEngines, expectScaledResponse } from "@peftjs/testkit/conformance";
import { it } from "vitest";
import { rocoft } from "../src/index.ts";

installMatchers();

describeOnEngines("the response of a layer", (engine) => {
  it.each([
    { mode: "row", rank: 1 },
    { mode: "column", rank: 1 },
    { mode: "column", rank: 1, forward: "split" },
    { mode: "entries", count: 3 },
  ])("is what trained parts of the weight add to its output, %j", (config) =>
    expectScaledResponse(rocoft, { engine: engine(), config }),
  );
});
