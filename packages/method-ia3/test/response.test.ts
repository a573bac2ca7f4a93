import { installMatchers } from "@peftjs/testkit";
import { describeOnEngines, expectScaledResponse } from "@peftjs/testkit/conformance";
import { it } from "vitest";
import { ia3 } from "../src/index.ts";

installMatchers();

describeOnEngines("the response of a layer", (engine) => {
  it.each([{ feedforwardModules: [] }, { feedforwardModules: ["layer"] }])(
    "is what scaling its output or its input changes, %j",
    (config) => expectScaledResponse(ia3, { engine: engine(), config }),
  );
});
