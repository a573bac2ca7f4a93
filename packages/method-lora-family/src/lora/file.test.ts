import type { LayerSite } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { LoraConfig } from "./config.ts";
import { loraFile } from "./file.ts";

const site = (kind: LayerSite["kind"], layout: LayerSite["layout"]): LayerSite => ({
  ...{ path: "layer", kind, role: "layer", block: null, inFeatures: 3, outFeatures: 2 },
  ...{ layout, weight: "layer.weight", bias: null },
});

describe("loraFile", () => {
  it.each([
    ["linear", "out_in", false],
    ["linear", "in_out", true],
    ["embedding", "in_out", false],
  ] as const)("of a %s layer stored %s says fan_in_fan_out %s, whatever the config says", (kind, layout, expected) => {
    for (const fanInFanOut of [true, false]) {
      const config = LoraConfig.parse({ fanInFanOut });
      const sites = [{ site: site(kind, layout), config, params: {}, state: {} }];
      expect(loraFile({ config, sites, native: false }).config).toEqual({ ...config, fanInFanOut: expected });
    }
  });
});
